# steadytext_count_tokens where daemons cannot count: NULL, at once and without a call; and where one of several can, that one counts.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'" ]);
my $serial  = $cluster->start_echo(name => 'serial', options => ['--serial']);
my $native  = $cluster->start_echo(name => 'native');
my $count   = q(SELECT coalesce(steadytext_count_tokens('three little words')::text, 'NULL'));
my $asked   = q(SELECT sum(value) FROM steadytext_metrics() WHERE name IN ('steadytext_requests_total', 'steadytext_daemon_requests_total'));

sub use_daemons {
    my (@daemons) = @_;
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()), join ', ', map { $_->{endpoint} } @daemons);
    return $cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind <> 'unknown'), scalar @daemons);
}

is($cluster->try_sql($count)->{state}, '55000', 'without any daemon it is a failure like others');

ok(use_daemons($serial), 'a daemon that cannot count');
my $before = $cluster->sql($asked);
is($cluster->sql($count), 'NULL', 'gives NULL');
is($cluster->sql($asked), $before, 'and is not asked');

ok(use_daemons($serial, $native), 'beside it one that can');
is(join(' ', map { $cluster->sql($count) } 1 .. 4), '3 3 3 3', 'is asked each time');

done_testing;
