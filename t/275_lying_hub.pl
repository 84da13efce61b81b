# A hub that lies to an independent node: it takes a bounded amount of memory in one worker, and calls go on. t/273 has the same of a standby.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::LyingHub;
use Test::More;

my $node     = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off' ]);
my $generate = sub { my ($prompt) = @_; return $node->sql("SELECT steadytext_generate('$prompt')") };
$generate->('before');

my $megabytes = sub { my $kilobytes = $node->memory($_[0], 'VmHWM'); return ($kilobytes // 0) / 1024 };
for my $mode (@SteadyText::LyingHub::MODES) {
    my $liar = SteadyText::LyingHub->new($mode);
    $node->append_conf("steadytext.hub_conninfo = '${\ $liar->conninfo}'");
    $node->reload;
    my ($most, $calls, $right) = (0, 0, 0);
    ok($node->wait_for(sub {
        $calls++;
        $right++ if $generate->("$mode $calls") eq "$mode $calls";
        my $worker = $node->worker_pid('node worker');
        my $now    = $worker eq '' ? 0 : $megabytes->($worker);
        $most = $now if $now > $most;
        return ($node->sql('SELECT reason FROM pg_stat_steadytext_hub') // '') =~ /^(08|53)/;
    }, 40), "$mode: the view says that something is wrong");
    cmp_ok($most, '<', 250, sprintf '%s: the worker has %.0f MB at most', $mode, $most);
    is($right, $calls, "$mode: $calls calls were answered meanwhile");
    is($node->sql('SELECT standing FROM pg_stat_steadytext_node'), 'alone', "$mode: it has become nobody's node");
    $node->append_conf("steadytext.hub_conninfo = ''");
    $node->reload;
    ok($node->wait_for(sub { $node->worker_pid('node worker') eq '' }), 'without a hub there is no worker');
    $liar->stop;
}
is($generate->('before'), 'before', 'the server goes on');
unlike($node->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
done_testing;
