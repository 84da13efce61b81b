# The extension compiles without a warning for each PostgreSQL that can be had beside the one at hand (scripts/fetch-postgres), and its SQL tests pass
# there, with some of those that start and stop servers.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use SteadyText::Majors;
use Test::More;

my @tests = map { s{^\Q$SteadyText::Cluster::ROOT/\E}{}r } glob("$SteadyText::Cluster::ROOT/t/[0-9]*.sql"),
    map { glob "$SteadyText::Cluster::ROOT/t/${_}_*.pl" } 100, 250, 253;
for my $major (grep { $_ > 15 } SteadyText::Majors::all()) {
    my $why = SteadyText::Majors::missing($major);
    SKIP: {
        skip "PostgreSQL $major cannot be had: $why", 1 if defined $why;
        local $ENV{CI} = 1;  # a warning is an error
        local $ENV{JOBS} = 1;
        my $said = '';
        my $good = IPC::Run::run([ "$SteadyText::Cluster::ROOT/scripts/check-major", $major, @tests ], '<', \undef, '>&', \$said);
        my @lines = split /\n/, $said;
        ok($good, "PostgreSQL $major") or diag join "\n", grep { defined } @lines[ -100 .. -1 ];
        note $_ for grep { /^Files=/ } @lines;
    }
}
done_testing;
