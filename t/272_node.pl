# Independent nodes share the cache of a hub: what one has computed is a hit on the others, a clear on any of them reaches all, and roles are
# known by their names. A node that has not heard of its hub for long gives nothing from its cache.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my @conf  = ("steadytext.on_failure = 'error'", 'steadytext.read_ahead = off', 'steadytext.frecency_refresh_interval = 1');
my $roles = q(CREATE ROLE asker LOGIN; CREATE ROLE other LOGIN;);
my $hub   = SteadyText::Cluster->new(conf => \@conf);
$hub->sql(q(CREATE ROLE gap; CREATE ROLE node LOGIN; ALTER ROLE node SET statement_timeout = '1min';) . $roles . q(SELECT steadytext_hub_allow('node', 'asker', true)));
my $conninfo = "host=$hub->{PGHOST} port=$hub->{PGPORT} user=node";
my $standby  = $hub->standby;
my $node     = SteadyText::Cluster->new(conf => [ @conf, "steadytext.hub_lookup_timeout = '2s'" ]);
$node->sql($roles);

my $requests = sub { my ($where) = @_; return join ' ', $where->ask_daemon('stats') =~ /"(?:generate|embed|rerank)":\d+/g };
my $ask      = sub { my ($where, $query, $user) = @_; return $where->sql($query, user => $user // 'asker') };
my $generate = sub { my ($where, $prompt, $user) = @_; return $ask->($where, "SELECT steadytext_generate('$prompt')", $user) };
my $count    = sub { my ($where, $prompt) = @_; return $where->sql("SELECT count(*) FROM steadytext_cache WHERE prompt = '$prompt'") };
my $there    = sub { my ($where, $prompt) = @_; return $where->poll_until("SELECT count(*) FROM steadytext_cache WHERE prompt = '$prompt'", 1) };
my $view     = sub { my ($where, $column) = @_; return $where->sql("SELECT $column FROM pg_stat_steadytext_node") };
my $set      = sub { my ($where, @lines) = @_; $where->append_conf(@lines); $where->reload };
my $joined   = sub { my ($where) = @_; return $where->poll_until(q(SELECT standing = 'node' AND age_ms < 1500 FROM pg_stat_steadytext_node), 't') };

# ---- joining ----------------------------------------------------------------------------------------------------------------------------

is($generate->($node, 'before it joined'), 'before it joined', 'a server by itself');
ok($there->($node, 'before it joined'), 'has a cache of its own');
is($view->($node, 'standing'), 'alone', 'and is no node');
$set->($node, "steadytext.hub_conninfo = '$conninfo'");
ok($joined->($node), 'with a hub it becomes a node') or diag $node->log;
is($count->($node, 'before it joined'), 0, 'what it had before is of unknown age, and gone');
$set->($hub, "steadytext.hub_conninfo = '$conninfo'");
ok($hub->poll_until(q(SELECT standing FROM pg_stat_steadytext_node), 'hub'), 'the hub itself knows that it is the hub');
is($generate->($hub, 'on the hub'), 'on the hub', 'and goes on');

# ---- what is computed on one is a hit on the others ----------------------------------------------------------------------------------------

my %calls = (
    'generated' => q(SELECT steadytext_generate('generated')),
    'embedded'  => q(SELECT vector_dims(steadytext_embed('embedded'))),
    'reranked'  => q(SELECT count(*) FROM steadytext_rerank('reranked', ARRAY['a', 'b'])),
    'yes'       => q(SELECT steadytext_generate_choice('yes', ARRAY['yes', 'no'])),
    'with "quotes" and é' => q(SELECT steadytext_generate('with "quotes" and é')),
);
for my $prompt (sort keys %calls) {
    my $began = time;
    my $said  = $ask->($node, $calls{$prompt});
    # An answer that is on its way while its node or the hub forgets is not kept: then it is computed again.
    ok($hub->wait_for(sub { $ask->($node, $calls{$prompt}); return $count->($hub, $prompt) == 1 }), "$prompt: an answer of the node reaches the hub");
    ok($there->($standby, $prompt), 'and its standby');
    diag sprintf '%s: %.0f ms', $prompt, (time - $began) * 1000 if $ENV{STEADYTEXT_FIGURES};
    my $before = $requests->($hub);
    is($ask->($_, $calls{$prompt}), $said, 'which have it') for $hub, $standby;
    is($requests->($hub), $before, 'and ask no daemon');
    my $other = $prompt =~ s/^\w/X/r;
    (my $call = $calls{$prompt}) =~ s/\Q$prompt\E/$other/;
    $call =~ s/'yes', 'no'/'Xes', 'no'/;
    $said = $ask->($hub, $call);
    ok($hub->wait_for(sub { $ask->($hub, $call); return $count->($hub, $other) == 1 }), 'an answer of the hub');
    $before = $requests->($node);
    is($ask->($node, $call), $said, 'is found by the node') for 1 .. 2;
    is($requests->($node), $before, 'which asks no daemon');
    # What is on its way when the node hears of a clear is not kept: then it is asked for again.
    ok($node->wait_for(sub { $ask->($node, $call); return $count->($node, $other) == 1 }), 'and keeps it');
}
cmp_ok($view->($node, 'found'), '>=', scalar keys %calls, 'the view counts what was found');
is($node->sql('SELECT refused FROM pg_stat_steadytext_hub'), 0, 'nothing was refused');

# Hits add up.
$generate->($node, 'counted');
$there->($hub, 'counted') or $generate->($node, 'counted');
ok($there->($hub, 'counted'), 'an answer');
$generate->($node, 'counted') for 1 .. 6;
$generate->($hub, 'counted') for 1 .. 2;
ok($hub->poll_until(q(SELECT access_count FROM steadytext_cache WHERE prompt = 'counted'), 9), 'hits of node and hub add up on the hub')
    or diag $hub->sql(q(SELECT access_count FROM steadytext_cache WHERE prompt = 'counted'));
ok($node->poll_until(q(SELECT access_count FROM steadytext_cache WHERE prompt = 'counted'), 7), 'the node counts its own');

# ---- names ------------------------------------------------------------------------------------------------------------------------------------

isnt($hub->sql(q(SELECT 'asker'::regrole::oid)), $node->sql(q(SELECT 'asker'::regrole::oid)), 'a role has another number on each');
my $refused = $node->sql('SELECT refused FROM pg_stat_steadytext_hub');
$generate->($node, 'not for this node', 'other');
ok($node->poll_until("SELECT refused > $refused FROM pg_stat_steadytext_hub", 't'), 'a role that is not allowed brings nothing');
is($count->($hub, 'not for this node'), 0, 'it is not written');
$generate->($hub, 'of another role', 'other');
ok($there->($hub, 'of another role'), 'an answer of that role on the hub');
my $before = $requests->($node);
$generate->($node, 'of another role', 'other');
isnt($requests->($node), $before, 'is not given to the node');

# By hand, as a hostile node would.
my $get = sub { my ($user, $arguments) = @_; return $hub->try_sql("SELECT verdict, response FROM _steadytext.hub_get($arguments)", user => $user) };
my ($key, $scope) = split /\|/, $hub->sql(q(SELECT cache_key, scope FROM steadytext_cache WHERE prompt = 'of another role'));
is($get->('node', "1, ARRAY['$scope'], ARRAY[decode('$key', 'hex')], '{1}'")->{out}, '', 'a row of a role that is not allowed is not there');
is($get->('node', "1, ARRAY['$scope' || '%', '$hub->{PGDATABASE}', '', 'x/asker'], array_fill(decode('$key', 'hex'), ARRAY[4]), '{1,1,1,1}'")->{out}, '2|', 'by no other scope');
is($get->('other', "1, '{}', '{}', '{}'")->{state}, '42501', 'who is no node may not ask');
($key, $scope) = split /\|/, $hub->sql(q(SELECT cache_key, scope FROM steadytext_cache WHERE prompt = 'on the hub'));
is($get->('node', "1, ARRAY['$scope'], ARRAY[decode('$key', 'hex')], '{1}'")->{out}, '1|on the hub', 'one that is allowed is');
is($get->('node', "1, NULL, NULL, NULL")->{out}, '', 'NULLs are nothing');
is($get->('node', "1, ARRAY['$scope', NULL], ARRAY[NULL, '\\x00']::bytea[], '{1, 1}'")->{out}, '', 'nor are keys that are none');
$hub->sql(q(SELECT steadytext_hub_allow('node', 'asker')));
is($get->('node', "1, ARRAY['$scope'], ARRAY[decode('$key', 'hex')], '{1}'")->{out}, '', 'a node that does not share may not read');
$hub->sql('SELECT _steadytext.hub_clear(1)', user => 'node');
is($count->($hub, 'on the hub'), 1, 'nor clear');
$hub->sql(q(SELECT steadytext_hub_allow('node', 'asker', true)));
is($hub->try_sql("SELECT _steadytext.$_", user => 'node')->{state}, '42501', "a node may not call $_")
    for 'hub_wish(1, ARRAY[0::oid])', "hub_lease(10::oid, '', 1)", 'hub_forget(true, ARRAY[]::oid[])', 'hub_number(1)', "hub_obey('x', 1)";
is($standby->try_sql('SELECT _steadytext.hub_watch(1)', user => 'node')->{state}, '25006', 'a standby is no hub');
is($hub->try_sql('SELECT _steadytext.hub_watch(2)', user => 'node')->{state}, '0A000', 'nor is one of another version');

# ---- clears ----------------------------------------------------------------------------------------------------------------------------------

# The answer is the number of the change: whoever asks a while after a change has its number, or, where the hub was not asked just then, what the node's
# daemon says; never an earlier number. The bound is that of the goal.
my $question = q(SELECT steadytext_generate('which change?'));
$ask->($hub, $question);
ok($there->($hub, 'which change?'), 'an answer that changes');
$ask->($node, $question);
my $session = $node->session(user => 'asker');
my (@took, @late);
my $own = 0;
for my $round (1 .. 40) {
    $hub->sql("UPDATE steadytext_cache SET response = '$round' WHERE prompt = 'which change?'");
    my $began = time;
    my $said;
    $node->wait_for(sub { $said = $session->ask("$question;"); return $said eq $round || $said eq 'which change?' }, 5) or push @late, "$round: $said";
    $own++ if $said ne $round;
    push @took, time - $began;
}
@took = sort { $a <=> $b } @took;
is("@late", '', 'forty changes on the hub, each seen by the node');
cmp_ok($own, '<=', 10, "and mostly found there: $own times its daemon was asked");
diag sprintf 'a change is seen after %.0f ms (median), %.0f ms (longest)', 1000 * $took[20], 1000 * $took[-1] if $ENV{STEADYTEXT_FIGURES};
cmp_ok($took[20], '<', 0.25, 'mostly within 250 ms');

# A clear on the node.
$generate->($_, 'cleared by the node') for $hub, $node;
$generate->($hub, 'of another role', 'other');
ok($there->($hub, 'cleared by the node'), 'an answer on the hub');
$before = $requests->($node);
$node->sql('SELECT steadytext_cache_clear()');
ok($hub->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'cleared by the node'), 0), 'a clear on the node clears the hub');
is($count->($hub, 'of another role'), 1, 'but for what the node may not share');
ok($standby->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'cleared by the node'), 0), 'and its standby');
ok($node->poll_until(q(SELECT l.told = c.clears AND l.heard = (SELECT heard FROM pg_stat_steadytext_node) FROM _steadytext.hub_link l, _steadytext.cache_clears c), 't'), 'the node comes to rest');
my $clears = $hub->sql('SELECT clears FROM _steadytext.cache_clears');
$generate->($node, 'cleared by the node');
isnt($requests->($node), $before, 'it is computed anew');
is($hub->sql('SELECT clears FROM _steadytext.cache_clears'), $clears, 'and no clear comes back');

# Answers and clears at once, on both: no row is older than a clear that was over before.
my @askers = map { $_->session(user => 'asker') } $hub, $node, $node;
my (@older, $kept);
for my $round (1 .. 8) {
    my $prompt = 0;
    $_->hand_over(join ' ', map { sprintf q(SELECT steadytext_generate('round %d, asked %d');), $round, ++$prompt } 1 .. 20) for @askers;
    my $began = ($round % 2 ? $hub : $node)->sql('SELECT clock_timestamp(); SELECT steadytext_cache_clear()');
    $began =~ s/\n.*//s;
    $_->ask('SELECT 1;') for @askers;
    ok($node->poll_until(q(SELECT l.told = c.clears FROM _steadytext.hub_link l, _steadytext.cache_clears c), 't'), "round $round: the hub was told");
    $hub->poll_until('SELECT clears FROM _steadytext.cache_clears', $hub->sql('SELECT clears FROM _steadytext.cache_clears'));
    $node->poll_until('SELECT heard FROM _steadytext.hub_link', $hub->sql('SELECT clears FROM _steadytext.cache_clears'));
    $generate->($node, "the end of round $round");
    ok($there->($hub, "the end of round $round"), 'and is brought what is new');
    for my $where ($hub, $node) {
        my ($old, $new) = split /\|/, $where->sql("SELECT count(*) FILTER (WHERE created_at < '$began'), count(*) FROM steadytext_cache WHERE scope LIKE '%asker'");
        push @older, "round $round on $where->{PGPORT}: $old" if $old;
        $kept += $new;
    }
}
is("@older", '', 'nothing of before a clear is there');
cmp_ok($kept, '>=', 16, 'and what came after is');
$_->finish for @askers;

# ---- a hub that is away --------------------------------------------------------------------------------------------------------------------

# Its answers are not given once the bound is over; calls go on.
$set->($node, "steadytext.hub_max_staleness = '500ms'", "steadytext.hub_lookup_timeout = '20ms'");
$ask->($node, $question);
ok($there->($hub, 'which change?'), 'an answer on both');
$before = $requests->($node);
$session->ask("$question;");
is($requests->($node), $before, 'from the cache');
my @stopped = split /\n/, $hub->sql(q(SELECT pid FROM pg_stat_activity WHERE usename = 'node'));
kill 'STOP', @stopped;
my $stopped = time;
$hub->sql(q(UPDATE steadytext_cache SET response = 'changed meanwhile' WHERE prompt = 'which change?'));
my ($last_stale, $asked) = (0, 0);
while (time < $stopped + 3) {
    my $began = time;
    my $said  = $session->ask("$question;");
    last if $requests->($node) ne $before;
    $last_stale = $began - $stopped if $said ne 'changed meanwhile';
    $asked++;
}
diag sprintf 'the last answer of before was asked for %.0f ms after the sessions of the hub were stopped, %d asked', 1000 * $last_stale, $asked if $ENV{STEADYTEXT_FIGURES};
cmp_ok($last_stale, '<', 0.5 + 0.1, 'nothing stale is given beyond the bound');
isnt($requests->($node), $before, 'a daemon is asked then');
my $began = time;
$generate->($node, "while it stands still $_") for 1 .. 10;
cmp_ok(time - $began, '<', 5, 'and calls are not held up');
kill 'CONT', @stopped;
ok($joined->($node), 'the node has heard of it');
is($ask->($node, $question), 'changed meanwhile', 'and of the change');
is($count->($hub, 'while it stands still 1'), 0, 'what was computed meanwhile may be older than the change, and is not brought');

# Gone for a while, and both start anew.
$session->finish;
ok($hub->stop, 'the hub stops');
$generate->($node, "while it is gone $_") for 1 .. 5;
ok($hub->start, 'and starts');
ok($there->($hub, "while it is gone $_"), 'it is brought what was computed meanwhile') for 1 .. 5;
ok($hub->stop, 'it stops again');
ok($node->poll_until(q(SELECT age_ms > 500 FROM pg_stat_steadytext_node), 't'), 'the view says so');
ok($node->restart, 'the node starts anew');
$before = $requests->($node);
$generate->($node, "while it is gone $_") for 1 .. 5;
isnt($requests->($node), $before, 'it gives nothing from its cache before it has heard of its hub');
ok($hub->start, 'the hub is back');
ok($joined->($node), 'the node has heard of it');
$before = $requests->($node);
$generate->($node, 'while it is gone 1');
is($requests->($node), $before, 'and has kept what it had: nothing was cleared');
$set->($node, "steadytext.hub_conninfo = ''");
ok($node->poll_until(q(SELECT standing FROM pg_stat_steadytext_node), 'alone'), 'without a hub it is a server by itself');
ok($node->wait_for(sub { $node->worker_pid('node worker') eq '' }), 'and has no node worker');
is($generate->($node, 'by itself'), 'by itself', 'that goes on');
unlike($_->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed') for $hub, $standby, $node;

done_testing;
