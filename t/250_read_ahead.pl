# Read-ahead as the daemon sees it: how many calls are under way, how fast, and what is left of them when a statement ends early.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0' ]
);
my $stat   = sub { my ($name, $endpoint) = @_; return $cluster->ask_daemon('stats', '{}', $endpoint) =~ /"$name":\s*(\d+)/ ? $1 : 0 };
my $slots  = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
my $median = sub { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] };
$cluster->sql(q(CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL, answer text, embedding vector);
    INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 1000) i; ANALYZE docs));

sub is_clean {
    my ($what) = @_;
    ok($cluster->poll_until($slots, 0, 5), "$what: no slot is in use");
    ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 10), "$what: the daemon does nothing");
    return;
}

# A statement that stands still holds up nobody who asks what it has begun to ask.
{
    $cluster->sql(q(CREATE ROLE app LOGIN; GRANT SELECT ON docs TO app;
        CREATE FUNCTION stands(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 3 THEN PERFORM pg_advisory_lock(1); END IF; RETURN i; END $$));
    my $holder = $cluster->session;
    $holder->ask('SELECT pg_advisory_lock(1);');
    my $stands = $cluster->session(user => 'app')->send(q(SELECT steadytext_generate('!fault:delay=' || 100 + id * 20 || ' ' || body), stands(id) FROM docs WHERE id <= 100;));
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted), 1, 20), 'a statement stands still between its rows');
    for my $id (30, 60) {
        my $asks = $cluster->try_sql("SET steadytext.request_timeout = '5s'; SELECT steadytext_generate('!fault:delay=' || 100 + $id * 20 || ' text $id')", user => 'app');
        is($asks->{state}, '', "another session is answered what it has begun to ask ($id)") or diag $asks->{err};
    }
    $holder->ask('SELECT pg_advisory_unlock(1);');
    is(scalar(split /\n/, $stands->finish->{out}), 100, 'and so is it');
    is_clean('a statement that stood still');
}

# The calls of a statement that is not run to its end are given up.
{
    my $held = q(SELECT steadytext_generate('!fault:hold ' || body) FROM docs);
    my $begin = sub {
        my ($before) = @_;
        my $session = $cluster->session->send("SET application_name = 'reader'; $before");
        ok($cluster->wait_for(sub { $stat->('in_flight') > 32 }), 'many calls of one statement are under way');
        return $session;
    };
    my $session = $begin->($held);
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'));
    is($session->finish->{state}, '57014', 'cancelled');
    is_clean('cancel');
    $session = $begin->($held);
    $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'));
    is($session->finish->{state}, '57P01', 'terminated');
    is_clean('terminate');
    is($cluster->try_sql("SET statement_timeout = '300ms'; $held")->{state}, '57014', 'statement_timeout');
    is_clean('statement_timeout');

    # The first row fails, with those behind it under way.
    my $fails = q(SELECT steadytext_generate(CASE WHEN id = 1 THEN '!fault:error=broken' ELSE '!fault:hold ' || body END) FROM docs ORDER BY id);
    is($cluster->try_sql("SET enable_seqscan = off; SET enable_sort = off; $fails")->{state}, '38000', 'the first row fails');
    is_clean('an error');
    is($cluster->sql("SET client_min_messages = error; SET enable_sort = off; BEGIN; SAVEPOINT s; DO \$\$ BEGIN PERFORM answer FROM ($fails) q(answer);
        EXCEPTION WHEN external_routine_exception THEN NULL; END \$\$; ROLLBACK TO s; SELECT count(*) FROM docs; COMMIT"), 1000, 'caught, and rolled back');
    is_clean('a block that catches, ROLLBACK TO');
}

# A row that another transaction has changed meanwhile is computed anew.
{
    my $other = $cluster->session;
    $other->ask(q(BEGIN; UPDATE docs SET body = 'changed' WHERE id IN (5, 7);));
    my $update = $cluster->session->send(q(SET application_name = 'updater'; UPDATE docs SET answer = steadytext_generate(body || '!') WHERE id < 10 RETURNING id || ' ' || answer));
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'updater' AND wait_event_type = 'Lock'), 1), 'it waits for the other');
    $other->ask('COMMIT;');
    $other->finish;
    is(join(' ', sort split /\n/, $update->finish->{out}), join(' ', map { $_ == 5 || $_ == 7 ? "$_ changed!" : "$_ text $_!" } 1 .. 9), 'and takes what the other left');
    $cluster->sql(q(UPDATE docs SET body = 'text ' || id, answer = NULL));
    is_clean('changed rows');
}

# Another session that asks for the same gets the same answer, whoever came first, and of one request.
{
    my $before = $stat->('generate');
    my $query  = q(SELECT count(steadytext_generate('!fault:delay=20 shared ' || body)) FROM docs WHERE id < 200);
    my @sessions = map { $cluster->session->send($query) } 1 .. 3;
    is(join(' ', map { $_->finish->{out} } @sessions), '199 199 199', 'three sessions with one query');
    is($stat->('generate') - $before, 199, 'share their requests');
    is_clean('shared');
}

# A statement that needs few rows begins few calls.
{
    my $begun = sub {
        my ($query) = @_;
        my $before = $stat->('generate');
        $cluster->sql($query);
        is_clean('LIMIT');
        return $stat->('generate') - $before;
    };
    is($begun->(q(SELECT steadytext_generate('ten ' || body) FROM docs LIMIT 10)), 10, 'ten rows, ten calls');
    is($begun->(q(SELECT steadytext_generate('skipped ' || body) FROM docs OFFSET 5 LIMIT 10)), 15, 'with those that are skipped');
    cmp_ok($begun->(q(SELECT id FROM docs WHERE steadytext_generate('filtered ' || body) <> 'x' LIMIT 10)), '<=', 20, 'at most twice as many, where a filter decides');
    is($begun->(q(SELECT EXISTS (SELECT 1 FROM docs WHERE steadytext_generate('exists ' || body) <> 'x'))), 1, 'EXISTS takes the first');
    is($begun->(q(BEGIN; DECLARE c CURSOR FOR SELECT steadytext_generate('cursor ' || body) FROM docs; FETCH 3 FROM c; ROLLBACK)), 3, 'a cursor asks for what is fetched');
    my $loop = q(CREATE OR REPLACE FUNCTION loops() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
        FOR r IN SELECT steadytext_generate('loop ' || body, use_cache => false) FROM docs LOOP EXIT; END LOOP; END $$; SELECT loops());
    is($begun->("SET steadytext.read_ahead = $_; $loop"), $begun->("SET steadytext.read_ahead = off; $loop"), "a loop for the rows that it fetches at once ($_)") for 'on';
}

# As fast as a batch. Each round asks for texts that are new, first by the statement, then as a batch.
{
    my $slow = $cluster->start_echo(name => 'slow', options => [ '--slots', 64, '--delay-ms', 50, '--fingerprint', 'slow:1' ]);
    $cluster->append_conf("steadytext.daemons = '$slow->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT string_agg(state, ' ') FROM steadytext_daemons), 'ready', 20), 'a daemon of 64 slots and 50 ms');
    my $round = 0;
    my $seconds = sub { my ($query) = @_; my $start = time; $cluster->sql($query); return time - $start };
    my %statements = (
        SELECT            => [ generate => sub { "SELECT count(answer) FROM (SELECT steadytext_generate('$_[0] ' || body) AS answer FROM docs OFFSET 0) q" } ],
        WHERE             => [ generate => sub { "SELECT count(*) FROM docs WHERE steadytext_generate('$_[0] ' || body) <> ''" } ],
        aggregate         => [ generate => sub { "SELECT max(steadytext_generate('$_[0] ' || body)) FROM docs" } ],
        UPDATE            => [ generate => sub { "UPDATE docs SET answer = steadytext_generate('$_[0] ' || body)" } ],
        'INSERT ... SELECT' => [ generate => sub { "CREATE TEMP TABLE copy (answer text); INSERT INTO copy SELECT steadytext_generate('$_[0] ' || body) FROM docs" } ],
        'UPDATE, vectors' => [ embed => sub { "UPDATE docs SET embedding = steadytext_embed('$_[0] ' || body)" } ],
    );
    for my $name (sort keys %statements) {
        my ($kind, $statement) = @{ $statements{$name} };
        my @ratios;
        for (1 .. 3) {
            my $taken = $seconds->($statement->('s' . ++$round));
            my $batch = $seconds->("SELECT count(*) FROM steadytext_${kind}_batch(ARRAY(SELECT 'b$round ' || body FROM docs))");
            push @ratios, $batch / $taken;
        }
        my $typical = $median->(@ratios);
        cmp_ok($typical, '>=', 0.8, sprintf '%s: %.2f of a batch', $name, $typical);
        note(join ' ', "$name / batch, each round:", map { sprintf '%.2f', $_ } @ratios);
    }
    my $off = $seconds->("SET steadytext.read_ahead = off; SELECT count(steadytext_generate('off ' || body)) FROM (SELECT * FROM docs LIMIT 40) q");
    cmp_ok($off, '>=', 2, 'without it, one after another');
}

done_testing;
