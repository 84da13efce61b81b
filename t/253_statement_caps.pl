# Caps of a statement: never one call too many, over parallel workers and over what is read ahead; and who may change them.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'jit = off', 'max_parallel_workers_per_gather = 0', 'enable_sort = off', 'steadytext.max_calls_per_statement = 100' ]
);
my $asked = sub { return $cluster->ask_daemon('stats', '{}') =~ /"generate":\s*(\d+)/ ? $1 : 0 };
$cluster->sql(q(CREATE ROLE app LOGIN; CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL); INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 1000) i;
    GRANT ALL ON docs TO app; ANALYZE docs;
    CREATE FUNCTION asks(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN steadytext_generate($1); END $$));

# Requests that a statement gave up are not of the next.
my $is_idle = sub { $cluster->wait_for(sub { $cluster->ask_daemon('stats', '{}') =~ /"in_flight":\s*0\b/ }, 10) };

my $run = 0;
sub runs {
    my ($query, %more) = @_;
    my $prefix = 'run ' . ++$run;
    $query =~ s/PREFIX/$prefix/g;
    $is_idle->();
    my $before = $asked->();
    my $result = $cluster->try_sql(($more{set} // '') . "; $query", user => 'app');
    return { state => $result->{state} // '', err => $result->{err} // '', out => $result->{out} // '', calls => $asked->() - $before };
}
my $all = q(SELECT count(steadytext_generate('PREFIX ' || body)) FROM docs);
my $few = q(SELECT count(steadytext_generate('PREFIX ' || body)) FROM docs WHERE id <= 100);

for my $read_ahead ('on', 'off') {
    my $set = "SET steadytext.read_ahead = $read_ahead";
    my $over = runs($all, set => $set);
    is("$over->{state} $over->{calls}", '53400 100', "read_ahead = $read_ahead: as many calls as the cap says, and an error before the next");
    like($over->{err}, qr/statement makes more than 100 calls/, 'which says so');
    is(runs($few, set => $set)->{out}, 100, 'a statement may make as many as the cap says');
    is(runs("$few; $few", set => $set)->{state}, '', 'so may the next');
    my $rows = runs(q(COPY (SELECT steadytext_generate('PREFIX ' || body) FROM docs ORDER BY id) TO STDOUT), set => $set);
    is(scalar(split /\n/, $rows->{out}), 100, 'each row before the error is answered');
    is(runs(q(SELECT count(steadytext_generate('PREFIX ' || id % 50)) FROM docs), set => $set)->{out}, 1000, 'answers from the cache do not count');
    is(runs(q(SELECT count(asks('PREFIX ' || body)) FROM docs), set => $set)->{calls}, 100, 'the statements of a function count with that which calls it');
    my $batch = runs(q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'PREFIX ' || body FROM docs))), set => $set);
    is($batch->{state}, '53400', 'a batch');
    cmp_ok($batch->{calls}, '<=', 100, 'and what it has under way is given up');
    is(runs(q(SELECT count(*) FROM (SELECT id FROM docs WHERE steadytext_generate('PREFIX ' || body) <> '' LIMIT 90) q), set => $set)->{out}, 90, 'what is not asked does not count');
}

# Parallel workers, with the leader and without.
for my $query ($all, q(SELECT count(asks('PREFIX ' || body)) FROM docs)) {
    for my $leader ('on', 'off') {
        my $set = join ' ', map { "SET $_;" } 'min_parallel_table_scan_size = 0', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'max_parallel_workers_per_gather = 4',
            "parallel_leader_participation = $leader";
        my $over = runs($query, set => $set);
        is($over->{state}, '53400', "four workers, parallel_leader_participation = $leader: an error");
        cmp_ok($over->{calls}, '<=', 100, 'and never a call beyond the cap');
        is(runs("$query WHERE id <= 100", set => $set)->{out}, 100, 'as many as the cap are answered');
        is(runs("$query WHERE id <= 101", set => $set)->{state}, '53400', 'and not one more');
    }
}

# What a statement puts off to its commit is of it, and what a client calls by message.
$cluster->sql(q(CREATE TABLE later (id int); GRANT ALL ON later TO app;
    CREATE FUNCTION calls_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM steadytext_generate('later ' || NEW.id || clock_timestamp()); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION calls_later()));
my $later = 'INSERT INTO later SELECT generate_series(1, 150)';
for my $statements ($later, "BEGIN; $later; COMMIT") {
    my $over = runs($statements);
    is("$over->{state} $over->{calls}", '53400 100', "triggers at the commit count together: $statements");
}
is(runs('INSERT INTO later SELECT generate_series(1, 90)')->{state}, '', 'as many as the cap may be made') for 1 .. 2;

# Warnings instead.
$cluster->sql(q(ALTER ROLE app SET steadytext.on_cap = 'warn'));
my $warned = runs($all);
is("$warned->{state} $warned->{out}", ' 1000', 'on_cap = warn: all are answered');
is(() = $warned->{err} =~ /WARNING/g, 1, 'with one WARNING');
like($warned->{err}, qr/HINT:  The statement goes on, since steadytext\.on_cap is warn\./, 'which does not tell to ask for fewer rows');
$cluster->sql(q(ALTER ROLE app RESET steadytext.on_cap));

# Tokens: what was used counts, not what was estimated.
my $used = $cluster->sql(q(EXPLAIN (ANALYZE, COSTS OFF) SELECT count(steadytext_generate('tokens ' || body, 20)) FROM docs WHERE id <= 100)) =~ /prompt tokens=(\d+) completion tokens=(\d+)/ ? $1 + $2 : 0;
for my $read_ahead ('on', 'off') {
    my $rows = sub { runs(q(COPY (SELECT steadytext_generate('tokens ' || body || 'PREFIX', 20) FROM docs WHERE id <= 100 ORDER BY id) TO STDOUT), set => "SET steadytext.read_ahead = $read_ahead; SET steadytext.own_max_tokens_per_statement = $_[0]") };
    is($rows->($used * 2)->{state}, '', "read_ahead = $read_ahead: enough tokens");
    my $over = $rows->(int $used / 2);
    is($over->{state}, '53400', 'half of them are not');
    like($over->{err}, qr/statement needs more than \d+ tokens/, 'which the error says');
    cmp_ok($over->{calls}, '<=', 60, 'and it comes in time');
    is(scalar(split /\n/, $over->{out}), $over->{calls}, 'with no call in vain');
}

# What a call may need is bounded by the answers that it may have: a question of yes and no is not thought to take 512 tokens.
my $said = q('a text about it <say>yes</say> PREFIX ' || id);
my %asks = (
    steadytext_if       => "steadytext_if('it rains', $said)::int",
    steadytext_score    => "steadytext_score('How wet is it?', replace($said, 'yes', '7'))",
    steadytext_classify => "length(steadytext_classify($said, ARRAY['yes', 'a label of some fifty bytes, which is never the answer']))",
    generate_choice     => "length(steadytext_generate_choice($said, ARRAY['yes', 'no']))",
    generate_regex      => "length(steadytext_generate_regex($said, 'yes|no|[0-9]{1,3}'))",
    generate_json       => qq(length(steadytext_generate_json(replace($said, 'yes', '{"a":true}'), '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}'))),
);
for my $read_ahead ('on', 'off') {
    for my $name (sort keys %asks) {
        my $fits = runs("SELECT count($asks{$name}) FROM docs WHERE id <= 20", set => "SET steadytext.read_ahead = $read_ahead; SET steadytext.own_max_tokens_per_statement = 1600");
        is("$fits->{state} $fits->{out}", ' 20', "$name, read_ahead = $read_ahead: twenty short answers fit") or diag $fits->{err};
    }
}
my $needs = sub { runs("SET steadytext.own_max_tokens_per_statement = 1; SELECT $_[0] FROM docs WHERE id = 1")->{err} =~ /the next call may need (\d+)/ ? $1 : undef };
my $one = $needs->("length(steadytext_generate_regex($said, '[0-9]+', 1))");
cmp_ok($needs->("length(steadytext_generate_regex($said, '[0-9]{4}-[0-9]{2}'))") - $one, '==', 2, 'seven digits are some three tokens, with their end');
cmp_ok($needs->("length(steadytext_generate_regex($said, '[0-9]+'))") - $one, '==', 511, 'a form without a longest answer may need max_tokens');
cmp_ok($needs->("length(steadytext_generate_regex($said, '[0-9]{1,200}', 10))") - $one, '==', 9, 'and none needs more');

# What to do, and who may.
like(runs($all)->{err}, qr/HINT:  Ask for fewer rows at once, or have a superuser raise steadytext\.max_calls_per_statement\./, 'a role that cannot raise a cap is told who can');
my $alone = runs(q(SET steadytext.own_max_tokens_per_statement = 1000; SELECT steadytext_generate('PREFIX', 2000)))->{err};
like($alone, qr/HINT:  One call alone may need more: give it a smaller max_tokens, or raise steadytext\.own_max_tokens_per_statement\./, 'one call that is beyond the cap by itself');
my $long = runs(q(SET steadytext.own_max_tokens_per_statement = 10; SELECT steadytext_generate(repeat('PREFIX', 2000), 5)))->{err};
like($long, qr/HINT:  One call alone needs more: give it a shorter text, or raise/, 'by its text');

# Who may change them.
is(runs("SET steadytext.own_max_calls_per_statement = 10; $all")->{calls}, 10, 'a role may set a lower cap for itself');
like(runs("SET steadytext.own_max_calls_per_statement = 10; $all")->{err}, qr/raise steadytext\.own_max_calls_per_statement/, 'and is told which one it was');
is(runs("SET steadytext.own_max_calls_per_statement = $_; $all")->{calls}, 100, "but not a higher one: $_") for 101, 0;
is(runs("SET steadytext.own_max_tokens_per_statement = 1; $all")->{state}, '53400', 'nor more tokens than it wants');
is(runs("SET steadytext.on_cap = 'warn'")->{state}, '42501', 'nor be warned instead');
my $here = $cluster->{PGDATABASE};
my @ways = map { my $name = "steadytext.max_${_}_per_statement"; ("SET $name = 0", "SET $name = 5", "SET LOCAL $name = 0", "SELECT set_config('$name', '0', false)", "ALTER ROLE app SET $name = 0",
    "ALTER ROLE app IN DATABASE $here SET $name = 0", "ALTER ROLE app RESET $name", "ALTER ROLE app IN DATABASE $here RESET $name",
    "CREATE FUNCTION pg_temp.capless() RETURNS void LANGUAGE sql SET $name = 0 AS ''") } 'calls', 'tokens';
for my $where ('in its database', 'in the database', 'for the role') {
    $cluster->sql(qq(ALTER ROLE app RESET ALL; ALTER ROLE app IN DATABASE $here RESET ALL; ALTER DATABASE $here RESET ALL));
    $cluster->sql({ 'in its database' => "ALTER ROLE app IN DATABASE $here", 'in the database' => "ALTER DATABASE $here", 'for the role' => 'ALTER ROLE app' }->{$where}
        . " SET steadytext.$_") for 'max_calls_per_statement = 30', 'max_tokens_per_statement = 1000000';
    for my $database ($here, 'postgres') {
        $cluster->try_sql($_, user => 'app', database => $database) for @ways, 'ALTER ROLE app RESET ALL', "ALTER ROLE app IN DATABASE $here RESET ALL", 'RESET ALL; DISCARD ALL';
    }
    is(runs($all)->{calls}, 30, "a cap $where: nothing that the role does takes it off");
    is(runs("$_; $all")->{calls}, 30, "$where: $_") for 'RESET ALL', 'DISCARD ALL', 'SET SESSION AUTHORIZATION DEFAULT', 'RESET ROLE';
    local $ENV{PGOPTIONS} = '-c steadytext.max_calls_per_statement=0';
    local $SIG{PIPE} = 'IGNORE';    # psql may have been refused, and be gone, before it is told what to ask
    isnt(eval { runs($all)->{calls} } // 0, 1000, 'nor what a client says at its start');
}
$cluster->sql(qq(ALTER ROLE app RESET ALL; ALTER DATABASE $here RESET ALL; ALTER ROLE app SET steadytext.max_calls_per_statement = 150));
is(runs($all)->{calls}, 150, 'a superuser raises it for a role');
is($cluster->sql("SET steadytext.max_calls_per_statement = 0; SELECT count(steadytext_generate('super ' || body)) FROM docs"), 1000, 'a superuser raises its own');

done_testing;
