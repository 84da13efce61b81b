# make lint: what it forbids it finds, in a copy of this tree with one wrong thing in it.
use strict;
use warnings;
use File::Temp ();
use SteadyText::Cluster;
use Test::More;

my $root = $SteadyText::Cluster::ROOT;
plan skip_all => 'lint looks at what git has, and this is no checkout' unless length `cd '$root' && git ls-files 2>/dev/null`;
my $copy = File::Temp->newdir;
system("cd '$root' && git ls-files -z | tar --create --null --files-from=- | tar --extract --directory='$copy'") == 0 or die;
system("cd '$copy' && git init --quiet && git add --all") == 0 or die;

sub lint { my $said = `cd '$copy' && scripts/lint 2>&1`; return ($? == 0, $said) }
sub read_file { my ($path) = @_; local $/; open my $file, '<', "$copy/$path" or die "$path: $!"; return <$file> }
sub write_file { my ($path, $text) = @_; open my $file, '>', "$copy/$path" or die "$path: $!"; print $file $text; close $file or die }

my ($clean, $said) = lint();
ok($clean, 'the tree itself is clean') or diag $said;

# Lint with one file changed; then the file is as it was.
sub finds {
    my ($what, $path, $change, $expected) = @_;
    my $text = read_file($path);
    write_file($path, $change->($text));
    my ($good, $words) = lint();
    write_file($path, $text);
    ok(!$good, "it fails on $what");
    like($words, $expected, "and says what is wrong with $what");
}

finds('a file without its opening comment', 'src/core/endpoint.cpp', sub { $_[0] =~ s{\A(?://.*\n)+}{}r }, qr{src/core/endpoint\.cpp:1: no comment opens it});
my %walls = (    # a folder's file, and what it may not include
    'src/core/endpoint.cpp'                  => 'src/pg/boundary.hpp',
    'src/core/constraint/regex.cpp'          => 'daemon/server.hpp',
    'src/core/jinja/lexer.cpp'               => 'src/pg/boundary.hpp',
    'src/planner/calm.cpp'                   => 'src/functions/calls.hpp',
    'shmem/usage.cpp'                        => 'src/pg/boundary.hpp',
    'src/pg/as_owner.cpp'                    => 'src/session/cache_scope.hpp',
    'src/session/cache_scope.cpp'                  => 'bgworker/worker_transaction.hpp',
    'src/functions/cache.cpp'                => 'src/queue/job.hpp',
    'src/queue/job.cpp'                      => 'src/functions/callback_proof.hpp',
    'bgworker/worker_transaction.cpp'                      => 'src/session/cache_scope.hpp',
    'daemon/server.cpp'                      => 'shmem/usage.hpp',
);
finds("an include of $walls{$_} in $_", $_, sub { $_[0] =~ s/(\n#include)/\n#include "$walls{$_}"$1/r }, qr{lint: a file in \S+ includes what that folder may not})
    for sort keys %walls;
finds('a path that leads nowhere', 'src/core/endpoint.cpp', sub { $_[0] . '// As src/core' . "/endpoint_that_is_gone.hpp says.\n" },
    qr{endpoint\.cpp:\d+:.*src/core.*\nlint: a path that leads nowhere});
finds('a PostgreSQL header in pure code', 'src/core/endpoint.cpp', sub { $_[0] =~ s/(\n#include)/\n#include "postgres.h"$1/r }, qr{pure code includes nothing of PostgreSQL});
finds('white space at the end of a line', 'README.md', sub { $_[0] =~ s/\n/ \n/r }, qr{no trailing white space});
SKIP: {
    skip 'clang-format 14 is not here', 2 if `clang-format --version 2>/dev/null` !~ /version 14\./;
    finds('a wrong width', 'src/core/endpoint.cpp', sub { $_[0] =~ s/(\n#include)/\nstatic int a_function_with_a_long_name(int first, int second, int third, int fourth, int fifth, int sixth, int seventh, int eighth, int ninth);$1/r },
        qr{endpoint\.cpp:\d+.*\nlint: a file is not as \.clang-format says});
}

done_testing;
