# Builds a variant of the C++ unit tests and tells, as tests, whether all of it passes. Called by t/005_unit.pl and t/006_sanitizers.pl.
package SteadyText::UnitTests;
use strict;
use warnings;
use Test::More;

sub pass {
    my ($variant) = @_;
    my $make = system("make -s -j\"\$(nproc)\" build/unit/$variant/unit-tests > build/unit-build-$variant.log 2>&1");
    is($make, 0, "$variant: they build without PostgreSQL") or diag `tail -n 30 build/unit-build-$variant.log`;
    chomp($ENV{STEADYTEXT_SCHEMA_SUITE} = `scripts/schema-suite --print-dir`);
    my @lines = `build/unit/$variant/unit-tests 2>&1`;
    my $state = $?;
    my ($count) = map { /(\d+) tests? from .* ran/ ? $1 : () } @lines;
    is($state, 0, "$variant: all pass") or diag grep { /FAILED|Failure|ERROR|WARNING|\.cpp/ } @lines;
    note grep { /JSON-Schema-Test-Suite/ } @lines;
    cmp_ok($count // 0, '>', 20, "$variant: " . ($count // 0) . ' tests ran');
}

1;
