# The embedded daemon: started, watched, restarted and stopped by the server, with a real model.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(daemon => 'native', conf => [ "steadytext.on_failure = 'error'" ]);
my $healthy = q(SELECT status FROM steadytext_daemon_status() WHERE daemon_id = 'default');

sub daemon_pid {
    my $launcher = $cluster->worker_pid('launcher');
    chomp(my $pid = `pgrep -P $launcher`);
    return $pid;
}
sub embedding { return $cluster->sql("SELECT steadytext_embed('A man is eating food.', use_cache => false) IS NOT NULL") }
# On a busy machine a hundred tokens take long.
my $generate = q(SET steadytext.request_timeout = '2min'; SELECT steadytext_generate('Count to twenty.', max_tokens => 100, use_cache => false));

ok($cluster->poll_until($healthy, 'healthy', 60), 'the daemon is healthy once its models are loaded');
is($cluster->sql(q(SELECT round((1 - (steadytext_embed('A man is eating food.')
    <=> steadytext_embed('A man is eating a piece of bread.')))::numeric, 3))), '0.755', 'two sentences about food are close');
is($cluster->sql(q(SELECT round((1 - (steadytext_embed('A man is eating food.')
    <=> steadytext_embed('The girl is carrying a baby.')))::numeric, 3))), '-0.105', 'one about a baby is not');
is($cluster->sql(q(SELECT vector_dims(steadytext_embed('dimensions')))), '1024', 'vectors have embedding_dimensions');
my $too_long = $cluster->try_sql(q(SELECT steadytext_embed(repeat('word ', 5000))));
is($too_long->{state}, '38000', 'a text beyond the window of the model is an error, never cut');
like($too_long->{err}, qr/beyond the model's window: \d+ tokens\. Maximum allowed: \d+/, 'with both sizes') or diag $too_long->{err};
{
    my $long = q(SELECT steadytext_embed(repeat('word ', 5000), use_cache => false) IS NOT NULL);
    $cluster->sql(q(ALTER SYSTEM SET steadytext.embedding_overflow = 'cut'; SELECT pg_reload_conf()));
    ok($cluster->poll_until($long, 't', 60), 'unless it is to be cut');
    my $cut = $cluster->try_sql(qq(SET steadytext.request_timeout = '2min'; $long));
    like($cut->{err}, qr/WARNING: .*beyond the embedding model's window and was cut\nDETAIL: +\d+ of its tokens are left out/, 'with a WARNING');
    $cluster->sql(q(ALTER SYSTEM RESET steadytext.embedding_overflow; ALTER SYSTEM SET steadytext.embedded_prefix_memory = '3MB'; SELECT pg_reload_conf()));
    ok($cluster->poll_until(q(SELECT count(*) = 1 FROM (SELECT steadytext_embed('short', use_cache => false)) e, steadytext_daemon_status() WHERE status = 'healthy'), 't', 60), 'settings of the daemon begin another');
    my $pid = daemon_pid();
    like(do { open my $file, '<', "/proc/$pid/cmdline" or die $!; <$file> =~ tr/\0/ /r }, qr/--prefix-memory 3 --embedding-overflow error/, 'with what they say');
}
is($cluster->sql(q(SET steadytext.embedding_dimensions = 100; SELECT round(vector_norm(steadytext_embed('cut'))::numeric, 4))),
    '1.0000', 'a vector that was cut has length 1 again');
my $first = $cluster->sql($generate);
cmp_ok(length $first, '>', 10, 'a language model answers');
is($cluster->sql($generate), $first, 'and answers the same again');

# kill -9 in the middle of a request: retried once, never later than the deadline, and back within five seconds.
{
    my $session = $cluster->session->send($generate);
    ok($cluster->poll_until(q(SELECT sum(value) > 0 FROM steadytext_metrics() WHERE name = 'steadytext_daemon_in_flight')), 'a request is in flight');
    my $old   = daemon_pid();
    my $start = time;
    kill 'KILL', $old;
    my $result = $session->finish;
    is($result->{out}, $first, 'the call that was waiting is sent again and gets its answer');
    cmp_ok(time - $start, '<', 120, 'within its deadline');
    isnt(daemon_pid(), $old, 'another daemon has taken over');

    kill 'KILL', daemon_pid();
    $start = time;
    ok($cluster->poll_until(q(SELECT steadytext_embed('back', use_cache => false) IS NOT NULL), 't', 5), 'a killed daemon is back and serving within 5 s');
    diag(sprintf 'back after %.1f s', time - $start);
}

# Stopped by hand, a call that no other daemon answers starts it again, and waits for it.
{
    my $kept = q(SET steadytext.request_timeout = '2min'; SELECT steadytext_generate('Who is asked twice?', max_tokens => 4));
    my $said = $cluster->sql($kept);
    is($cluster->sql('SELECT steadytext_daemon_stop()'), 't', 'daemon_stop');
    is(daemon_pid(), '', 'no process is left');
    is($cluster->sql($kept), $said, 'a cached answer needs no daemon');
    is(daemon_pid(), '', '  and starts none');
    my $woken = $cluster->try_sql(q(SET steadytext.request_timeout = '2min'; SELECT steadytext_generate('Who wakes you?', max_tokens => 4, use_cache => false) IS NOT NULL));
    is("$woken->{out} $woken->{err}", 't ', 'a call is answered: it has started the daemon and waited');
    isnt(daemon_pid(), '', '  it runs');
}

# Where daemon_auto_start is false it stays stopped, says so, and starts again by hand.
{
    $cluster->sql(q(SELECT steadytext_config_set('daemon_auto_start', 'false')));
    is($cluster->sql('SELECT steadytext_daemon_stop()'), 't', 'daemon_stop');
    is(daemon_pid(), '', 'no process is left');
    my $refused = $cluster->try_sql($generate);
    isnt($refused->{state}, '', 'a call is refused');
    cmp_ok($refused->{seconds}, '<', 1, 'at once');
    is($cluster->sql($healthy), 'unhealthy', 'the status says so');
    my $started = $cluster->try_sql(q(SET steadytext.request_timeout = '2min'; SELECT steadytext_daemon_start()));
    is($started->{out}, 't', 'daemon_start waits until it answers') or diag $started->{err}, $cluster->sql(q(SELECT * FROM steadytext_models())), $cluster->log;
    is(embedding(), 't', 'and it serves');
}

# No orphan and no socket file after any kind of stop.
for my $mode (qw(fast immediate)) {
    my $pid = daemon_pid();
    ok($cluster->stop($mode), "$mode stop");
    ok($cluster->wait_for(sub { !kill 0, $pid }, 2), "$mode stop: the daemon is gone");
    ok(!-e $cluster->data_dir . '/pg_steadytext/steadytextd.sock', "$mode stop: so is its socket file") if $mode eq 'fast';
    ok($cluster->start, 'start again');
    ok($cluster->poll_until($healthy, 'healthy', 60), 'healthy again');
}
{
    my $pid = daemon_pid();
    open my $file, '<', $cluster->data_dir . '/postmaster.pid' or die $!;
    chomp(my $postmaster = <$file>);
    kill 'KILL', $postmaster;
    ok($cluster->wait_for(sub { !kill 0, $pid }, 5), 'kill -9 of the postmaster: the daemon is gone');
    ok($cluster->wait_for(sub { !-e "/proc/$postmaster" }, 5), 'and so is the postmaster');
    $cluster->wait_for(sub { $cluster->start }, 20);
    ok($cluster->poll_until($healthy, 'healthy', 60), 'the server comes back with its daemon');
}

# A model that is not there: a clear word in the log and in the warning, no crash loop.
{
    $cluster->append_conf("steadytext.embedded_model = '/nonexistent/model.gguf'", "steadytext.embedded_embedding_model = ''");
    $cluster->reload;
    ok($cluster->wait_for(sub { $cluster->log =~ m{could not open model "/nonexistent/model\.gguf"} }, 60), 'the log names the missing model');
    my $result = $cluster->try_sql('SELECT steadytext_daemon_start()', timeout => 60);
    like($result->{err}, qr/WARNING:.*failed to start daemon: the embedded daemon exited with code/, 'so does daemon_start');
    my $starts = () = $cluster->log =~ /starting it again in/g;
    cmp_ok($starts, '<', 12, 'attempts become rarer');
}

done_testing;
