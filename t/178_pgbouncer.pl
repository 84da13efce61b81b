# Through PgBouncer in transaction mode: clients share server sessions, and nothing of one is another's.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'client_connection_check_interval = 100' ]);
my $slots   = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
my $stat    = sub { return $cluster->ask_daemon('stats') =~ /"$_[0]":\s*(\d+)/ ? $1 : 0 };

# The distribution's pgbouncer on a socket of its own, with two server sessions for all clients.
sub start_pgbouncer {
    my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
    my $dir = $cluster->run_dir;
    open my $file, '>', "$dir/pgbouncer.ini" or die "pgbouncer.ini: $!";
    print {$file} <<"INI";
[databases]
* = host=$cluster->{PGHOST} port=$cluster->{PGPORT} user=$cluster->{PGUSER}
[pgbouncer]
unix_socket_dir = $dir
listen_port = 6543
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = $dir/pgbouncer.log
INI
    close $file;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', "$dir/pgbouncer.out";
        open STDERR, '>&', \*STDOUT;
        exec SteadyText::Cluster::as_server_exec(), $program, '-q', "$dir/pgbouncer.ini" or exit 127;
    }
    $cluster->wait_for(sub { -S "$dir/.s.PGSQL.6543" }, 10) or die "pgbouncer does not listen: " . `cat $dir/pgbouncer.out`;
    return $pid;
}

my $bouncer = start_pgbouncer();
END { local $?; if ($bouncer) { kill 'TERM', $bouncer; waitpid $bouncer, 0 } }

# The same cluster, seen through the bouncer.
my $through = bless { %$cluster, PGHOST => $cluster->run_dir, PGPORT => 6543 }, ref $cluster;

is($through->sql(q(SELECT steadytext_generate('hello'))), 'hello', 'generate');
is($through->sql(q(SELECT steadytext_embed('hello') = steadytext_embed('hello', false))), 't', 'embed');
is($through->sql(q(SELECT string_agg(document, ' ') FROM steadytext_rerank('q', ARRAY['a', 'b']))), 'a b', 'rerank');
is($through->sql(q(SELECT count(*) FILTER (WHERE response = prompt) FROM steadytext_generate_batch(ARRAY(SELECT 'batch ' || i FROM generate_series(1, 500) i)))), 500, 'a batch');
is($through->sql(q(SELECT count(embedding) FROM steadytext_embed_batch(ARRAY(SELECT 'batch ' || i FROM generate_series(1, 100) i)))), 100, 'a batch of embeddings');

# Settings of a transaction are that transaction's.
{
    my ($asking, @others) = map { $through->session } 0 .. 3;
    $asking->ask(q(BEGIN; SET LOCAL client_min_messages = error; SET LOCAL steadytext.on_failure = 'fallback'; SET LOCAL steadytext.fallback_text = 'mine';));
    is($asking->ask(q(SELECT steadytext_generate('!fault:error=broken');)), 'mine', 'SET LOCAL binds its transaction');
    is_deeply([ map { $_->ask(q(SELECT current_setting('steadytext.on_failure');)) } @others ], [ ('error') x 3 ], 'and no other client');
    is($asking->ask(q(COMMIT; SELECT current_setting('steadytext.on_failure');)), 'error', 'nor the client\'s next');
    is($asking->ask(q(BEGIN; SELECT steadytext_config_set('default_max_tokens', '77'); SELECT steadytext_config_get('default_max_tokens'); COMMIT;)), "\n77", 'a row of steadytext_config');
    is_deeply([ map { $_->ask(q(SELECT steadytext_config_get('default_max_tokens');)) } @others ], [ (77) x 3 ], 'is every client\'s');
    $_->finish for $asking, @others;
}

# Twenty clients on two server sessions: each gets its own answers.
{
    my @clients = map { my $n = $_; $through->session->send(join ";\n", map { "SELECT steadytext_generate('client $n, call $_')" } 1 .. 20) } 1 .. 20;
    my @answers = map { $_->finish->{out} } @clients;
    is_deeply(\@answers, [ map { my $n = $_; join "\n", map { "client $n, call $_" } 1 .. 20 } 1 .. 20 ], 'twenty clients get their own answers');
    cmp_ok($cluster->sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())), '<=', 2, 'from two server sessions');
}

# Cancelled through the bouncer: the statement ends, the daemon stops, and the server session serves the next client.
for my $case ([ 'a call', q(SELECT steadytext_generate('!fault:hold'))        , 1 ],
              [ 'a batch', q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT '!fault:hold ' || i FROM generate_series(1, 30) i))), 30 ]) {
    my ($what, $statement, $requests) = @$case;
    my $client = $through->session->send($statement);
    ok($cluster->wait_for(sub { $stat->('in_flight') == $requests }), "$what waits for the daemon");
    $client->{run}->signal('INT');
    is($client->finish->{state}, '57014', "$what is cancelled");
    ok($cluster->poll_until($slots, 0, 2), "$what: no slot is in use");
    ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 10), "$what: the daemon was told to stop");
    is($through->sql("SELECT steadytext_generate('after $what')"), "after $what", "$what: the next client is served");
}

# A client that goes in the midst of its call: PgBouncer closes its server session, which PostgreSQL sees by
# client_connection_check_interval.
{
    my $client = $through->session->send(q(SELECT steadytext_generate('!fault:hold gone')));
    ok($cluster->wait_for(sub { $stat->('in_flight') == 1 }), 'a call waits');
    $client->{run}->kill_kill;
    ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 10), 'its client goes, and the daemon stops');
    is($through->sql(q(SELECT count(*) FROM generate_series(1, 10) i WHERE steadytext_generate('later ' || i) = 'later ' || i)), 10, 'others are served');
}

done_testing;
