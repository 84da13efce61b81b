# Without shared_preload_libraries: a clear word, never a crash. And the other ways a server may be set up wrongly.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none');

# No daemon at all: a call says what to set, at once.
my $result = $cluster->try_sql("SET steadytext.on_failure = 'error'; SELECT steadytext_generate('anyone?')");
is($result->{state}, '55000', 'without a daemon a call is refused');
like($result->{err}, qr/no inference daemon is configured/, 'with the reason');
like($result->{err}, qr/HINT:.*steadytext\.daemons/, 'and what to do');
cmp_ok($result->{seconds}, '<', 1, 'at once');
is($cluster->sql('SELECT daemon_id, status, endpoint IS NULL FROM steadytext_daemon_status()'), 'default|unhealthy|t', 'the status says unhealthy, and makes up no address');
like($cluster->try_sql('SELECT steadytext_daemon_start()')->{err}, qr/WARNING:.*failed to start daemon: no daemon is configured/,
    'daemon_start has nothing to start, and says so');

# Bad entries: refused by ALTER SYSTEM, harmless in a file.
is($cluster->try_sql("ALTER SYSTEM SET steadytext.daemons = 'tcp://localhost:-1'")->{state}, '22023', 'ALTER SYSTEM refuses a bad port');
like($cluster->try_sql("ALTER SYSTEM SET steadytext.daemons = 'tcp://169.254.169.254:5555'")->{err}, qr/not allowed/, 'and a metadata address');
my $echo = $cluster->start_echo;
$cluster->append_conf("steadytext.daemons = 'tcp://localhost:1, $echo->{endpoint}'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT steadytext_generate('hello', use_cache => false)), 'hello'), 'in a file the good entry works');
is($cluster->sql("SELECT status FROM steadytext_daemon_status() WHERE endpoint = 'tcp://localhost:1'"), 'unhealthy', 'and the bad one is shown');
like($cluster->log, qr/ignoring entry "tcp:\/\/localhost:1" of steadytext\.daemons/, 'and logged');

# config_set of the daemon's address is for the whole server.
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = 'tcp://localhost:5001 weight=2'; SELECT pg_reload_conf()");
ok($cluster->poll_until('SHOW steadytext.daemons', 'tcp://localhost:5001 weight=2'), 'a daemon is set');
$cluster->sql("SELECT steadytext_config_set('daemon_port', '5002')");
ok($cluster->poll_until('SHOW steadytext.daemons', 'tcp://localhost:5002 weight=2'), 'daemon_port moves it, options kept');

# Not preloaded.
$cluster->append_conf("shared_preload_libraries = ''");
$cluster->sql('ALTER SYSTEM RESET ALL');
my @pending = split /\n/, $cluster->sql(q(INSERT INTO steadytext_queue (request_type, prompt, run_at) SELECT 'generate', 'pending ' || i, 'infinity' FROM generate_series(1, 7) i RETURNING request_id));
ok($cluster->restart, 'the server starts without the library');
for my $call (q(steadytext_generate('x')), q(steadytext_embed('x')), q(steadytext_daemon_start()), q((SELECT count(*) FROM steadytext_daemon_status()))) {
    my $refused = $cluster->try_sql("SELECT $call");
    is($refused->{state}, '55000', "$call is refused");
    like($refused->{err}, qr/HINT:.*shared_preload_libraries/, 'with what to do');
}
is($cluster->sql('SELECT steadytext_version() IS NOT NULL'), 't', 'the version is known all the same');

# What writes the extension's tables by hand commits: no part of a commit needs the library.
my $witness = $cluster->session;
is($witness->ask('SELECT 1;'), 1, 'a session');
for my $write (q(INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'by hand')), q(UPDATE steadytext_queue SET priority = 1), q(DELETE FROM steadytext_queue),
    q(COPY steadytext_queue (request_type, prompt) FROM PROGRAM 'printf generate\\\\tcopied'), q(BEGIN; SAVEPOINT s; INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'x'); ROLLBACK TO s; COMMIT),
    q(INSERT INTO steadytext_cache (cache_key, prompt, response) VALUES ('k', 'k', 'k')), q(UPDATE steadytext_cache SET response = 'x'), q(TRUNCATE steadytext_cache), q(SELECT steadytext_cache_clear()),
    q(INSERT INTO steadytext_rate_limit_rules (role_name, requests) VALUES ('*', 5)), q(INSERT INTO steadytext_budgets (role_name, period, tokens, mode) VALUES ('*', '1 day', 5, 'warn')),
    q(SELECT steadytext_config_set('mine', '1')), q(SELECT steadytext_prompt_create('a-prompt', 'x')), q(SELECT steadytext_generate_async('x')), q(INSERT INTO steadytext_prices VALUES ('m', 1, 2))) {
    my $said = $cluster->try_sql($write);
    ok($said->{state} eq '' || $said->{err} =~ /is not loaded/, "done, or refused before the commit: $write") or diag $said->{err};
}
my $cancels = join ' ', map { "SAVEPOINT s$_; SELECT steadytext_cancel_async('$pending[$_]');" } 0 .. $#pending;
$cluster->try_sql("BEGIN; $cancels $_") for 'ROLLBACK', 'ROLLBACK TO s3; RELEASE s1; COMMIT';
is($witness->ask('SELECT 2;'), 2, 'no other session has noticed');
$witness->finish;
is($cluster->try_sql('DROP EXTENSION pg_steadytext; CREATE EXTENSION pg_steadytext')->{state}, '', 'the extension can be created');

done_testing;
