# One computation for all nodes of a hub: whoever asks for what another node, or the hub, computes waits for that answer. Whoever dies is waited for
# no longer, and without a hub each node computes for itself.
use strict;
use warnings;
use IPC::Run ();
use POSIX ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my @conf = ("steadytext.on_failure = 'error'", 'steadytext.read_ahead = off', 'max_connections = 120', 'steadytext.request_timeout = 600s',
    "steadytext.hub_lookup_timeout = '5s'");
my $hub = SteadyText::Cluster->new(conf => \@conf);
$hub->sql(q(CREATE ROLE node LOGIN; CREATE ROLE asker LOGIN; SELECT steadytext_hub_allow('node', 'asker', true)));
my @nodes = map { SteadyText::Cluster->new(conf => [ @conf, "steadytext.hub_conninfo = 'host=$hub->{PGHOST} port=$hub->{PGPORT} user=node'" ]) } 1 .. 2;
my @all   = ($hub, @nodes);
for my $node (@nodes) {
    $node->sql(q(CREATE ROLE asker LOGIN; SELECT steadytext_generate('a session, so that there is something to share')));
    ok($node->poll_until(q(SELECT standing FROM pg_stat_steadytext_node), 'node'), 'a node has joined') or diag $node->log;
}
my $requests = sub { my $sum = 0; $sum += $_->ask_daemon('stats') =~ /"generate":(\d+)/ ? $1 : 0 for @_ ? @_ : @all; return $sum };
my $control  = sub { my ($json) = @_; $_->ask_daemon('control', $json) for @all; return };
my $say      = sub { my ($where, $prompt) = @_; return $where->session(user => 'asker')->hand_over("SELECT steadytext_generate('$prompt');") };
my $waited   = sub { my ($where) = @_; return $where->sql('SELECT waited FROM pg_stat_steadytext_node') };

# ---- many sessions, one computation ---------------------------------------------------------------------------------------------------------

my $script = File::Temp->new(SUFFIX => '.sql');
print {$script} "SELECT steadytext_generate('!fault:hold one for all, round ' || :round);\n";
close $script;
for my $round (1 .. 3) {
    my $before = $requests->();
    my (@output, @running);
    for my $i (0 .. $#all) {
        push @running, IPC::Run::start([ $all[$i]->program('pgbench'), '-n', '-c', 67, '-j', 1, '-t', 1, '-D', "round=$round", '-f', "$script", '-h', $all[$i]{PGHOST},
                '-p', $all[$i]{PGPORT}, '-U', 'asker', $all[$i]{PGDATABASE} ], '<', \undef, '>&', \$output[$i]);
    }
    for my $where (@all) {
        ok($where->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%!fault:hold one for all, round%' AND query NOT LIKE '%pg_stat%'), 67, 120),
            "round $round: 67 sessions of a server ask");
    }
    is($requests->() - $before, 1, 'and one daemon computes');
    # A call that finds the hub slow just then asks its own daemon: a busy machine may compute once more on a server, never more often.
    my $releasing = fork // die "fork: $!";
    if ($releasing == 0) { $control->('{"release": true}'), select undef, undef, undef, 0.2 for 1 .. 600; POSIX::_exit(0) }
    $_->finish for @running;
    kill 'KILL', $releasing;
    waitpid $releasing, 0;
    like($output[$_], qr{actually processed: 67/67}, 'all have the answer') for 0 .. $#all;
    my $computed = $requests->() - $before;
    diag "round $round: 201 sessions, computed $computed times" if $ENV{STEADYTEXT_FIGURES};
    cmp_ok($computed, '<=', @all, 'which was computed once, or once on a server') or diag join ' ', map { $_->sql('SELECT (waited, late, found, dropped, asked, led)::text FROM pg_stat_steadytext_node') } @all;
}

# ---- who computes dies ------------------------------------------------------------------------------------------------------------------------

# The session: its node tells the hub.
my $before = $requests->();
my $first  = $say->($nodes[0], '!fault:hold of a session that ends');
ok($nodes[0]->wait_for(sub { $requests->($nodes[0]) > 0 && $requests->() == $before + 1 }), 'a session computes');
my $second = $say->($nodes[1], '!fault:hold of a session that ends');
ok($nodes[1]->wait_for(sub { $nodes[1]->sql(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension' AND query LIKE '%a session that ends%')) >= 1 }), 'another node waits');
is($requests->(), $before + 1, 'and asks no daemon');
$nodes[0]->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%of a session that ends%' AND pid <> pg_backend_pid()));
ok($nodes[1]->wait_for(sub { $requests->() == $before + 2 }), 'it computes once that session is gone');
$control->('{"release": true}');
like($second->ask('SELECT 1;'), qr/of a session that ends/, 'and has its answer');

# The hub's own session waits, too, and is waited for.
$before = $requests->();
my $third = $say->($hub, '!fault:hold of the hub');
ok($hub->wait_for(sub { $requests->() == $before + 1 }), 'the hub computes');
my $fourth = $say->($nodes[1], '!fault:hold of the hub');
ok($nodes[1]->wait_for(sub { $waited->($nodes[1]) >= 2 }), 'a node waits');
$control->('{"release": true}');
like($third->ask('SELECT 1;'),  qr/of the hub/, 'the hub has its answer');
like($fourth->ask('SELECT 1;'), qr/of the hub/, 'and so has the node');
is($requests->(), $before + 1, 'from one daemon');

# The node.
$before = $requests->();
my $fifth = $say->($nodes[0], '!fault:hold of a node that dies');
ok($nodes[0]->wait_for(sub { $requests->() == $before + 1 }), 'a node computes');
my $sixth = $say->($hub, '!fault:hold of a node that dies');
ok($hub->wait_for(sub { $waited->($hub) >= 1 }), 'the hub waits');
$nodes[0]->stop('immediate');
ok($hub->wait_for(sub { $requests->($hub) > 0 && $requests->() == $before + 2 }), 'it computes once that node is dead');
$control->('{"release": true}');
like($sixth->ask('SELECT 1;'), qr/of a node that dies/, 'and has its answer');
$_->finish for $first, $second, $third, $fourth, $fifth, $sixth;

# The hub: each node for itself.
ok($nodes[0]->start, 'the node is back');
$nodes[0]->sql('SELECT 1');
ok($nodes[0]->poll_until(q(SELECT standing = 'node' AND age_ms < 1500 FROM pg_stat_steadytext_node), 't'), 'and has joined');
$before = $requests->();
my $kept = $say->($nodes[0], '!fault:hold while the hub dies');
ok($nodes[0]->wait_for(sub { $requests->() == $before + 1 }), 'a node computes');
$before = $requests->(@nodes);
ok($hub->stop('immediate'), 'the hub dies');
my $own = $say->($nodes[1], '!fault:hold while the hub dies');
ok($nodes[1]->wait_for(sub { $requests->(@nodes) == $before + 1 }), 'another computes for itself');
$control->('{"release": true}');
like($_->ask('SELECT 1;'), qr/while the hub dies/, 'both have their answers') for $kept, $own;
$_->finish for $kept, $own;
unlike($_->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed') for @all;

done_testing;
