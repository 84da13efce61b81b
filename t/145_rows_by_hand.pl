# Calls that come into the queue's table by another way than the functions (COPY, INSERT and UPDATE by hand) are carried out once they are committed.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'max_prepared_transactions = 2' ]);
$cluster->sql('CREATE EXTENSION IF NOT EXISTS pg_steadytext CASCADE');
my $done = sub { my ($like) = @_; return $cluster->poll_until("SELECT count(*) > 0 AND count(*) = count(*) FILTER (WHERE status = 'completed') FROM steadytext_queue WHERE prompt LIKE '$like'", 't') };
# No worker is there that would come upon the rows by itself.
my $idle = sub { return $cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker'), 0) };

ok($idle->(), 'no worker is at work');
$cluster->sql(qq(COPY steadytext_queue (request_type, prompt) FROM STDIN;\ngenerate\tcopied 1\ngenerate\tcopied 2\n\\.\n));
ok($done->('copied %'), 'COPY');
ok($idle->(), 'no worker is at work');
$cluster->sql(q(INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'inserted')));
ok($done->('inserted'), 'INSERT');
ok($idle->(), 'no worker is at work');
$cluster->sql(q(BEGIN; INSERT INTO steadytext_queue (request_type, prompt, run_at) VALUES ('generate', 'updated', 'infinity'); COMMIT));
ok($cluster->poll_until(q(SELECT (details ->> 'jobs')::int FROM steadytext_health_check() WHERE component = 'queue'), 1), 'what waits is counted');
ok($idle->(), 'no worker is at work');
$cluster->sql(q(UPDATE steadytext_queue SET run_at = now() WHERE prompt = 'updated'));
ok($done->('updated'), 'UPDATE');
is($cluster->try_sql(q(BEGIN; INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'prepared'); PREPARE TRANSACTION 'queue'))->{state}, '', 'such a transaction can be prepared');
$cluster->sql(q(COMMIT PREPARED 'queue'));
is($cluster->try_sql(q(BEGIN; SELECT steadytext_generate_async('refused'); PREPARE TRANSACTION 'queue'))->{state}, '0A000', 'one that calls a function cannot');
for my $call ("steadytext_cancel_async('00000000-0000-0000-0000-000000000000')", "steadytext_queue_requeue('{00000000-0000-0000-0000-000000000000}')") {
    is($cluster->try_sql("BEGIN; SELECT $call; PREPARE TRANSACTION 'queue'")->{state}, '0A000', "nor one with $call: it would keep a lock, over restarts too");
    is($cluster->try_sql("BEGIN; SAVEPOINT a; SELECT $call; RELEASE a; PREPARE TRANSACTION 'queue'")->{state}, '0A000', 'nor in a savepoint');
    is($cluster->try_sql("BEGIN; SAVEPOINT a; SELECT $call; ROLLBACK TO a; PREPARE TRANSACTION 'queue'; ROLLBACK PREPARED 'queue'")->{state}, '', 'one that has rolled it back can');
}
$cluster->sql(q(SELECT steadytext_generate_async('another')));
ok($done->('prepared'), 'the worker comes upon what was prepared');
my $back = $cluster->session;
$back->ask(q(BEGIN; INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'rolled back'); SAVEPOINT s; INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'to a savepoint'); ROLLBACK TO s; INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'kept'); COMMIT;));
$back->finish;
ok($done->('kept'), 'after a rollback to a savepoint');
done_testing;
