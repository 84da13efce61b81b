# Rate limits of daemons: a daemon at its limit gets nothing more, the others do; when none is left, the call is refused as by any limit.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'" ]);
my %daemons = map { $_ => $cluster->start_echo(name => $_) } qw(one two);
my ($one, $two) = map { $daemons{$_}{endpoint} } qw(one two);
$cluster->sql("SELECT steadytext_daemon_register('$_')") for $one, $two;
$cluster->sql('CREATE ROLE app LOGIN; CREATE ROLE other LOGIN');
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind = 'native'), 2), 'two daemons are ready');

my $refused = '53400';
my $got     = sub { return $cluster->sql("SELECT requests FROM steadytext_daemons WHERE endpoint = '$_[0]'") };
my $used    = sub { return $cluster->sql("SELECT coalesce(sum(used), 0) FROM steadytext_rate_limit_status WHERE " . ($_[0] // 'true')) };
my $set     = sub { $cluster->sql("SELECT steadytext_rate_limit_set($_[0])") };
my $reset   = sub { $cluster->sql(q(TRUNCATE steadytext_rate_limit_rules; SELECT steadytext_rate_limit_reset('*'))) };
my $ask     = sub {
    my ($text, $count, %options) = @_;
    return $cluster->try_sql(($options{set} // '') . " SELECT count(steadytext_generate('$text ' || i, use_cache => false)) FROM generate_series(1, $count) i",
        user => $options{user} // 'app');
};

# The daemon is passed over, the other one serves.
{
    $set->("'app', 'daemon:$one', requests => 10");
    my %before = map { $_ => $got->($_) } $one, $two;
    is($ask->('share', 100)->{out}, 100, 'a hundred calls are answered');
    is($got->($one) - $before{$one}, 10, 'ten of them by the daemon with a limit of ten');
    is($got->($two) - $before{$two}, 90, 'the rest by the other');
    is($used->("operation = 'daemon:$one'"), 10, 'the view shows what is used');
    is($ask->('not bound', 20, user => 'other')->{out}, 20, 'a role that it does not bind');
    cmp_ok($got->($one) - $before{$one}, '>', 15, 'is served by both');
}

# None is left.
{
    $set->("'app', 'daemon:$two', requests => 5, per => '1 h'");
    my $all = $ask->('both', 6);
    is($all->{state}, $refused, 'with no daemon left the call is refused');
    like($all->{err}, qr/Rate limit exceeded: 10 requests per 60s/, 'with the limit that is over first');
    like($all->{err}, qr/limit of role "app" for daemon "\Q$one\E" has 0 of 10 requests left; retry after \d+ ms/, 'its daemon, and when to retry');
    is($ask->('other', 6, user => 'other')->{out}, 6, 'others go on');
    is($ask->('null', 2, set => q(SET client_min_messages = error; SET steadytext.on_limit = 'null';))->{out}, 0, 'on_limit = null gives NULL');
    is($cluster->try_sql(q(SET client_min_messages = error; SET steadytext.on_limit = 'null'; SELECT count(*) FROM steadytext_generate_stream('as a stream', use_cache => false) s
        WHERE s IS NULL), user => 'app')->{out}, 1, 'of a stream, one row of it');
    is($cluster->try_sql(q(SET client_min_messages = error; SET steadytext.on_limit = 'null';
        SELECT count(*) || ' ' || count(response) FROM steadytext_generate_batch('{a,b,c}', use_cache => false)), user => 'app')->{out}, '3 0', 'of a batch, rows of it');
    is($ask->('shadow', 3, set => q(SET steadytext.limit_shadow_mode = on;), user => 'app')->{state}, '42501', 'only administrators try limits out');
    $cluster->sql('ALTER SYSTEM SET steadytext.limit_shadow_mode = on');
    $cluster->reload;
    ok($cluster->wait_for(sub { ($ask->('shadow', 3)->{out} // '') eq '3' }), 'in shadow mode nothing is refused');
    cmp_ok($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_limit_shadow_refusals_total')), '>=', 3, 'and what would be is counted');
    $cluster->sql('ALTER SYSTEM RESET steadytext.limit_shadow_mode');
    $cluster->reload;
    ok($cluster->wait_for(sub { $ask->('shadow is over', 1)->{state} eq $refused }), 'until it is over');
    $reset->();
}

# All or nothing: what another limit had charged is given back.
{
    $set->(q('app', requests => 100));
    $set->("'app', tokens => 100000, operation => 'generate'");
    $set->("'\@database', 'daemon:$_', requests => 0") for $one, $two;
    is($ask->('nothing', 1)->{state}, $refused, 'a call that no daemon may take');
    is($used->(q(role = 'app')), 0, 'has used nothing of any limit');
    like($ask->('nothing', 1)->{err}, qr/is 0, which forbids every call/, 'a limit of none says so');
    $reset->();
}

# Tokens are settled with what was used.
{
    $set->("'app', 'daemon:$_', tokens => 1000") for $one, $two;
    is($cluster->try_sql(q(SELECT count(steadytext_generate('one two three ' || i, 300, use_cache => false)) FROM generate_series(1, 20) i), user => 'app')->{out},
        20, 'estimates of 300 tokens fit twenty times');
    my $tokens = $used->();
    cmp_ok($tokens, '>', 20,   'tokens are counted');
    cmp_ok($tokens, '<', 1000, 'as they were used');
    $reset->();
}

# Waiting: until the daemon's window has room, without a session or the gateway standing still.
{
    $set->("'app', 'daemon:$_', requests => 2, per => '0.3 s'") for $one, $two;
    my $waits  = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_limit_waits_total');
    my $before = $cluster->sql($waits);
    my $waiter = $cluster->session(user => 'app')->send(q(SET steadytext.on_limit = 'wait'; SELECT count(steadytext_generate('wait ' || i, use_cache => false)) FROM generate_series(1, 13) i));
    is($ask->('meanwhile', 50, user => 'other')->{out}, 50, 'others are served');
    is($waiter->finish->{out}, 13, 'the one that waits is answered in the end');
    cmp_ok($cluster->sql($waits) - $before, '>=', 3, 'waits are counted');
    $set->("'app', 'daemon:$_', requests => 0") for $one, $two;
    is($ask->('never', 1, set => q(SET steadytext.on_limit = 'wait';))->{state}, $refused, 'for what never comes nobody waits');
    $set->("'app', 'daemon:$_', requests => 1, per => '1 h'") for $one, $two;
    my $held_before = $cluster->sql($waits);
    my $held = $cluster->session(user => 'app')->send(q(SET application_name = 'held'; SET steadytext.on_limit = 'wait'; SET steadytext.request_timeout = '2 h';
        SELECT count(steadytext_generate('held ' || i, use_cache => false)) FROM generate_series(1, 3) i));
    ok($cluster->wait_for(sub { $cluster->sql($waits) > $held_before }), 'one waits for an hour');
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'held'));
    is($held->finish->{state}, '57014', 'it can be cancelled');
    ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0), 'and leaves nothing behind')
        || diag $cluster->sql(q(SELECT name, value FROM steadytext_metrics() WHERE name ~ 'slot'));
    $reset->();
}

# What was never sent is not counted; a cached answer is nothing to a daemon.
{
    $set->("'app', 'daemon:$_', requests => 4, per => '1 h'") for $one, $two;
    is($cluster->try_sql(q(SELECT count(steadytext_generate(p)) FROM unnest(array_fill('cached'::text, ARRAY[50])) p), user => 'app')->{out}, 50, 'fifty of one question');
    is($used->(), 1, 'are one request to a daemon');
    kill 'KILL', $daemons{$_}{pid} for qw(one two);
    ok($cluster->wait_for(sub { $ask->('gone', 1)->{state} =~ /^08/ }), 'no daemon is there');
    my $before = $used->();
    like($ask->('gone', 1)->{state}, qr/^08/, 'the error says so, and not that there is a limit') for 1 .. 9;
    is($used->(), $before, 'and requests that are never sent count nowhere');
    $reset->();
}

# A table that does not let a daemon's limit go unread: what cannot be one is refused.
is($cluster->try_sql(q(SELECT steadytext_rate_limit_set('app', 'daemon:nowhere', 1)))->{state}, '22023', 'an endpoint must be one');
is($cluster->try_sql(q(SELECT steadytext_rate_limit_set('app', 'daemon:tcp://169.254.169.254:5555', 1)))->{state}, '22023', 'and an allowed one');
is($cluster->try_sql(qq(SELECT steadytext_rate_limit_set('app', 'daemon:$one', concurrency => 1)))->{state}, '22023', 'concurrency is not limited by daemon');
is($cluster->try_sql(q(SELECT steadytext_rate_limit_set('app', 'daemon:ipc://pg_steadytext/steadytextd.sock', 1)))->{state}, '', 'the embedded daemon has a name too');

done_testing;
