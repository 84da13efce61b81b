# The C++ unit tests, built three ways: plain, under AddressSanitizer with UBSan, under ThreadSanitizer.
use strict;
use warnings;
use Test::More;

my $make = system('make -s -j"$(nproc)" unit-tests > build/unit-build.log 2>&1');
is($make, 0, 'they build without PostgreSQL') or diag `tail -n 30 build/unit-build.log`;
chomp($ENV{STEADYTEXT_SCHEMA_SUITE} = `scripts/schema-suite --print-dir`);
for my $variant (qw(plain asan tsan)) {
    my @lines = `build/unit/$variant/unit-tests 2>&1`;
    my $state = $?;
    my ($count) = map { /(\d+) tests? from .* ran/ ? $1 : () } @lines;
    is($state, 0, "$variant: all pass") or diag grep { /FAILED|Failure|ERROR|WARNING|\.cpp/ } @lines;
    note grep { /JSON-Schema-Test-Suite/ } @lines;
    cmp_ok($count // 0, '>', 20, "$variant: " . ($count // 0) . ' tests ran');
}
done_testing;
