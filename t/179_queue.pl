# Whatever dies while jobs are queued and carried out, each job ends once: none is lost, none stays behind, none has two results.
#
# A callback writes down each result, in the transaction that marks it as done, so a job done twice would be written twice. Who dies next is
# drawn at random, by the seed that is told. With STEADYTEXT_LONG_TESTS there are 2,000 jobs, and all of them die six times; then the
# daemon works on eight at a time, so that the jobs last longer than the deaths.
use strict;
use warnings;
use SteadyText::Cluster;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(time);

my $jobs   = $ENV{STEADYTEXT_LONG_TESTS} ? 2000 : 1000;
my $rounds = $ENV{STEADYTEXT_LONG_TESTS} ? 6 : 1;
my @echo   = $ENV{STEADYTEXT_LONG_TESTS} ? (options => [ '--slots', 8 ]) : ();
my $delay  = 500;  # milliseconds of each
my $seed   = $ENV{SEED} // int rand 1_000_000;
srand $seed;
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '20s'", "steadytext.breaker_recovery = '1s'" ]);
sub replace_echo {
    my $killed = kill 'KILL', $cluster->echo_pid;
    $cluster->start_echo(@echo);
    return $killed;
}
replace_echo() if @echo;
$cluster->sql(q(CREATE TABLE done (request_id uuid, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION public.write_down(request_id uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO public.done (request_id) VALUES ($1)'));

# Queued by sessions of their own, a part of them rolled back: those never were.
sub enqueue {
    my ($from, $to, $end, $ms) = @_;
    $ms //= $delay;
    return $cluster->try_sql(qq(BEGIN; SELECT count(steadytext_enqueue('generate',
        jsonb_build_object('prompt', '!fault:delay=$ms job ' || i, 'use_cache', false), max_retries => 50, callback => 'public.write_down(uuid)'))
        FROM generate_series($from, $to) i; $end));
}
enqueue(1, $jobs / 2, 'COMMIT');
enqueue($jobs + 1, $jobs + 100, 'ROLLBACK');
enqueue($jobs / 2 + 1, $jobs, 'COMMIT');
is($cluster->sql('SELECT count(*) FROM steadytext_queue'), $jobs, 'what was committed is queued, and nothing else');

my $ended = q(SELECT count(*) FROM steadytext_queue WHERE status NOT IN ('pending', 'processing'));
# Before each death more is queued, that takes long enough to be under way when it comes.
sub await_progress {
    # A session that the last death takes along, because the server notices it only now, has queued nothing.
    my $queued = "SELECT count(*) FROM steadytext_queue WHERE prompt LIKE '% job " . ($jobs + 100) . "'";
    $cluster->wait_for(sub { enqueue($jobs + 1, $jobs + 100, 'COMMIT', 3000) if $cluster->try_sql($queued)->{out} eq '0'; $cluster->try_sql($queued)->{out} eq '1' }, 60);
    $jobs += 100;
    return $cluster->wait_for(sub { $cluster->try_sql(q(SELECT count(*) > 0 FROM steadytext_queue WHERE status = 'processing'))->{out} eq 't' }, 60);
}
my $deaths = 0;
sub kill_one {
    my ($signal, $where) = @_;
    my $pid = $cluster->try_sql("SELECT pid FROM pg_stat_activity WHERE $where AND pid <> pg_backend_pid() LIMIT 1")->{out};
    return $pid =~ /^\d+$/ && ($deaths += kill $signal, $pid);
}
sub kill_when_there { my ($signal, $where) = @_; return $cluster->wait_for(sub { kill_one($signal, $where) }, 30) }
sub worker { my ($kind) = @_; return "backend_type = 'pg_steadytext $kind'" }

my @sessions;
my %deaths = (
    'terminated: the worker'   => sub { kill_when_there('TERM', worker('queue worker')) },
    'kill -9: the worker'      => sub { kill_when_there('KILL', worker('queue worker')) },
    'terminated: the callback worker' => sub { kill_when_there('TERM', worker('callback worker')) },
    'kill -9: the callback worker' => sub { kill_when_there('KILL', worker('callback worker')) },
    'terminated: the gateway'  => sub { kill_when_there('TERM', worker('gateway')) },
    'kill -9: the gateway'     => sub { kill_when_there('KILL', worker('gateway')) },
    'kill -9: the launcher'    => sub { kill_when_there('KILL', worker('launcher')) },
    'kill -9: a keeper'        => sub {
        push @sessions, $cluster->session->send('SELECT steadytext_frecency_refresh()');
        kill_when_there('KILL', worker('keeper'));
    },
    'kill -9: a session that waits' => sub {
        push @sessions, $cluster->session->send(q(SELECT steadytext_get_async_result(request_id, 60) FROM steadytext_queue WHERE status = 'pending' LIMIT 1));
        kill_when_there('KILL', "query LIKE 'SELECT steadytext_get_async_result%'");
    },
    'kill -9: a session that queues' => sub {
        push @sessions, $cluster->session->send(q(BEGIN; SELECT count(steadytext_generate_async('never queued ' || i)) FROM generate_series(1, 100) i; SELECT pg_sleep(600)));
        kill_when_there('KILL', "query LIKE '%pg_sleep(600)%'");
    },
    'kill -9: the daemon' => sub { $deaths += replace_echo() },
    'kill -9: the postmaster' => sub {
        open my $file, '<', $cluster->data_dir . '/postmaster.pid' or die $!;
        my $pid = 0 + <$file>;
        $deaths += kill 'KILL', $pid;
        # Its children see that it is gone, one after the other; until then the new one may not start.
        $cluster->wait_for(sub { $cluster->start }, 60);
    },
);
for my $round (1 .. $rounds) {
    my @drawn = shuffle sort keys %deaths;
    for my $death ($ENV{STEADYTEXT_LONG_TESTS} ? @drawn : @drawn[0 .. 5]) {
        ok(await_progress(), "$death, while jobs are done");
        ok($deaths{$death}->(), 'it dies');
        ok($cluster->poll_until('SELECT 1', 1, 60), 'the server serves');
    }
}

ok($cluster->poll_until($ended, $jobs, 300), 'every job ends') or diag $cluster->sql(q(SELECT status, count(*), min(error) FROM steadytext_queue GROUP BY 1));
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE callback_state IN ('due', 'running')), 0, 120), 'every callback is called');
# Dead is one whose worker died six times while it had it, which six deaths in all can hardly do to any.
my $dead = $cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE status = 'failed' AND lost_count = 6 AND error = 'its worker died again and again'));
my $done = $jobs - $dead;
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed' AND result = prompt)), $done, "with its own answer, or as one of $dead that are dead")
    or diag $cluster->sql(q(SELECT status, result = prompt, count(*), min(error), min(retry_count) FROM steadytext_queue GROUP BY 1, 2));
cmp_ok($dead, '<=', $rounds > 1 ? $jobs / 10 : 0, 'few are');
is($cluster->sql('SELECT count(*), count(DISTINCT request_id) FROM done'), "$done|$done", 'written down once');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue q JOIN done d USING (request_id) WHERE q.status = 'completed')), $done, 'each of them');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE callback_error IS NOT NULL)), 0, 'by its callback');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE prompt LIKE 'never%')), 0, 'what was not committed never was');
diag sprintf 'seed %d: %d jobs, %d deaths, %d jobs dead, %s lost, %s done twice, %s carried out again', $seed, $jobs, $deaths, $dead, split /\|/,
    $cluster->sql(qq(SELECT $done - count(DISTINCT d.request_id), count(*) - count(DISTINCT d.request_id), (SELECT count(*) FROM steadytext_queue WHERE lost_count + retry_count > 0) FROM done d));

done_testing;
