# Backends and the gateway are killed and terminated while sixteen sessions ask (fault catalogue, rows 7 and 8): the cluster is back as
# fast as PostgreSQL alone would be, nobody gets an answer to another's question, and nobody waits longer than a call may.
#
# With STEADYTEXT_LONG_TESTS the gateway is terminated a hundred times.
use strict;
use warnings;
use List::Util qw(max);
use SteadyText::Cluster;
use SteadyText::Load;
use Test::More;
use Time::HiRes qw(time);

my $long = $ENV{STEADYTEXT_LONG_TESTS};
sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ]; }

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '20s'" ]);
my $slots   = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

# The time from a SIGKILL of the process that `query` finds until a new session is served, in milliseconds.
sub milliseconds_until_back {
    my ($server, $query) = @_;
    my $pid   = $server->sql($query);
    my $start = time;
    kill 'KILL', $pid;
    $server->wait_for(sub { !kill 0, $pid }, 10);
    $server->poll_until('SELECT 1', 1, 30) or return 1e9;
    return 1000 * (time - $start);
}

# Row 7: kill -9. PostgreSQL ends all sessions and begins again with new shared memory; a cluster without us is the measure.
{
    my $bare = SteadyText::Cluster->new(daemon => 'none');
    $bare->append_conf("shared_preload_libraries = ''");
    $bare->restart;
    my $writer = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer');
    my %times;
    for my $round (1 .. 3) {
        push @{ $times{core} }, milliseconds_until_back($bare, $writer);
        for my $victim ('gateway', 'session') {
            my @held = map { $cluster->session->send(qq(SELECT steadytext_generate('!fault:hold $victim $round $_', use_cache => false))) } 1 .. 16;
            ok($cluster->poll_until($slots, 16), 'sixteen sessions wait');
            push @{ $times{$victim} }, milliseconds_until_back($cluster, $victim eq 'gateway'
                ? q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_steadytext gateway')
                : q(SELECT pid FROM pg_stat_activity WHERE query LIKE '%!fault:hold%' AND pid <> pg_backend_pid() LIMIT 1));
            $_->finish for @held;
            # What the daemon owes to the boot before, it sends now.
            $cluster->ask_daemon('control', '{"release": true}');
            ok($cluster->poll_until("SELECT steadytext_generate('new boot $round', use_cache => false)", "new boot $round", 10),
                "$victim killed: served again");
            is($cluster->sql($slots), 0, 'no slot of the boot before is in use');
        }
    }
    $bare->discard;
    my $core = median(@{ $times{core} });
    for my $victim ('gateway', 'session') {
        my $took = median(@{ $times{$victim} });
        cmp_ok($took - $core, '<=', 200, "$victim killed: back as soon as PostgreSQL alone, to 200 ms");
        note(sprintf 'row 7: %s killed: back after %.0f ms, PostgreSQL alone after %.0f', $victim, $took, $core);
    }
    my $load = SteadyText::Load->new($cluster, clients => 16, calls => 100);
    is($load->join, 16, 'sixteen sessions after six crashes');
    is($load->not_right, '', 'get the answers to their own questions');
}

# Row 8: pg_terminate_backend() of the gateway, at any moment. PostgreSQL restarts it after a second; calls wait for its successor.
{
    my $restart_ms = 1000;
    my $load = SteadyText::Load->new($cluster, clients => 16);
    my $delayed = SteadyText::Load->new($cluster, clients => 4, head => '!fault:delay=30');
    ok($load->await(100), 'under load');
    my $rounds = $long ? 100 : 5;
    my @times;
    for my $round (1 .. $rounds) {
        my $pid   = $cluster->worker_pid('gateway');
        my $start = $cluster->sql("SELECT clock_timestamp() FROM pg_terminate_backend($pid)");
        my $successor = "FROM pg_stat_activity WHERE backend_type = 'pg_steadytext gateway' AND pid <> $pid";
        my $back = $cluster->poll_until("SELECT count(*) $successor", 1, 10);
        push @times, $back ? $cluster->sql("SELECT extract(epoch FROM backend_start - '$start') * 1000 $successor") : 1e9;
        $load->await(1 + int rand 300) or last;
    }
    is($load->finish, 16, "$rounds times without a gateway: no session hangs");
    is($delayed->finish, 4, 'nor one that had long requests under way');
    is($load->not_right, '', $load->calls . ' calls: all right');
    is($delayed->not_right, '', $delayed->calls . ' long calls: all right');
    cmp_ok(max(@times), '<=', $restart_ms + 200, 'a successor each time within 200 ms of what PostgreSQL takes');
    note(sprintf 'row 8: a successor after %.0f ms at the median, %.0f at most, %d times', median(@times), max(@times), $rounds);
    cmp_ok($load->milliseconds(1), '<', 20_000, 'no call outlasts its deadline');
    is($cluster->sql($slots), 0, 'no slot is left in use');
}

done_testing;
