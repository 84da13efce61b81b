# steadytext.on_failure = auto where a fallback would be stored later: by what runs outside of all statements (triggers put off, functions called by
# the fastpath protocol), and in the session's caches of relations and types, which keep constant calls evaluated. So does ANALYZE, with its NULLs.
use strict;
use warnings;
use IO::Handle;
use IO::Socket::UNIX;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000000', "steadytext.breaker_recovery = '200ms'", "steadytext.request_timeout = '1s'",
    'max_prepared_transactions = 2', 'autovacuum = off' ]);
my $fallback = '[steadytext: no answer available]';

# ---- triggers that were put off -----------------------------------------------------------------------------------------

$cluster->sql(q(
    CREATE TABLE asked (id int, prompt text, answer text);
    CREATE TABLE noted (answer text);
    CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON asked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
));
my $insert = q(INSERT INTO asked VALUES (1, '!fault:error one'));
for my $body (
    [ 'by assignment',        q(a := steadytext_generate(NEW.prompt)) ],
    [ 'of a constant',        q(a := steadytext_generate('!fault:error one'); PERFORM 1) ],
    [ 'by SELECT INTO',       q(SELECT steadytext_generate(NEW.prompt) INTO a) ],
    [ 'by a query of rows',   q(SELECT string_agg(steadytext_generate(prompt), '') INTO a FROM asked) ],
    [ 'by EXECUTE',           q(EXECUTE 'SELECT steadytext_generate($1)' INTO a USING NEW.prompt) ],
  )
{
    my ($how, $code) = @$body;
    $cluster->sql("CREATE OR REPLACE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS \$\$ DECLARE a text; BEGIN $code; UPDATE asked SET answer = a WHERE id = NEW.id; INSERT INTO noted VALUES (a); RETURN NULL; END \$\$");
    for my $case (
        [ 'at the end of the statement\'s own transaction', $insert ],
        [ 'at COMMIT',                                       "BEGIN; $insert; COMMIT" ],
        [ 'at PREPARE TRANSACTION',                          "BEGIN; $insert; PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'" ],
        [ 'at SET CONSTRAINTS',                              "BEGIN; $insert; SET CONSTRAINTS ALL IMMEDIATE; COMMIT" ],
        [ 'at COMMIT of a procedure',                        "DO \$\$ BEGIN $insert; COMMIT; END \$\$" ],
      )
    {
        my ($when, $sql) = @$case;
        like($cluster->try_sql($sql)->{err}, qr/ERROR.*stores its rows, so it is given no fallback/s, "a trigger put off, asking $how, $when: an error");
    }
}
is($cluster->sql('SELECT (SELECT count(*) FROM asked) + (SELECT count(*) FROM noted) + (SELECT count(*) FROM pg_prepared_xacts)'), 0, 'nothing is stored');
is($cluster->sql(q(INSERT INTO asked VALUES (2, 'two'); SELECT answer FROM asked)), 'two', 'an answer is');
is($cluster->sql(qq(SET client_min_messages = error; SET steadytext.on_failure = fallback; INSERT INTO asked VALUES (3, '!fault:error three'); SELECT answer FROM asked WHERE id = 3)), $fallback,
    'and a fallback on demand');

# ---- the fastpath protocol ----------------------------------------------------------------------------------------------

# Calls a function with text arguments as a client, undef: NULL; what comes back, or the error.
sub fastpath {
    my ($function, @arguments) = @_;
    my $socket = IO::Socket::UNIX->new("$cluster->{PGHOST}/.s.PGSQL.$cluster->{PGPORT}") or die "no connection: $!";
    my %got;
    my $send = sub { my ($type, $body) = @_; print {$socket} $type . pack('N', 4 + length $body) . $body; $socket->flush };
    my $read = sub {
        for (%got = ();;) {
            read $socket, my $head, 5 or die 'the connection ended';
            my ($type, $size) = unpack 'a N', $head;
            read $socket, my $body, $size - 4 if $size > 4;
            return if $type eq 'Z';
            $got{$type} .= $body // '';
        }
    };
    $send->('', pack('N', 196608) . join("\0", user => $cluster->{PGUSER}, database => $cluster->{PGDATABASE}) . "\0\0");
    $read->();
    my $oid = $cluster->sql("SELECT oid FROM pg_proc WHERE proname = '$function'");
    $send->('F', pack('N n n n', $oid, 1, 0, scalar @arguments) . join('', map { defined ? pack('N/a', $_) : pack('N', 0xffffffff) } @arguments) . pack('n', 0));
    $read->();
    return $got{E} ? "ERROR $got{E}" : unpack 'N/a', $got{V};
}
$cluster->sql(q(CREATE FUNCTION keep(p text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE a text; BEGIN SELECT steadytext_generate(p) INTO a; PERFORM 1; INSERT INTO noted VALUES (a); RETURN a; END $$;
    CREATE FUNCTION keep_constant(p text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE a text := steadytext_generate('!fault:error one'); BEGIN PERFORM 1; INSERT INTO noted VALUES (a); RETURN a; END $$;
    TRUNCATE noted));
is(fastpath('steadytext_generate', '!fault:error one', (undef) x 9), $fallback, 'called by the fastpath protocol: a fallback');
is(fastpath('keep', 'one'), 'one', 'a function that stores an answer, called so');
like(fastpath($_, '!fault:error one'), qr/stores its rows/, "$_ stores no fallback") for 'keep', 'keep_constant';
is($cluster->sql('SELECT answer FROM noted'), 'one', 'none is stored');

# ---- what the session's caches keep -------------------------------------------------------------------------------------

# The daemon stands still while `sql` runs in the session. No answer is in the cache then.
sub while_stopped {
    my ($session, $sql) = @_;
    my $pid = $cluster->echo_pid;
    $cluster->sql('SELECT steadytext_cache_clear()');
    kill 'STOP', $pid;
    my $out = $session->ask($sql);
    kill 'CONT', $pid;
    $cluster->poll_until(q(SET client_min_messages = error; SELECT steadytext_generate('anybody?', use_cache => false)), 'anybody?', 60) or die 'the daemon does not go on';
    return $out;
}
# Who is found by the index.
sub by_index { my ($from) = @_; return $cluster->sql("SET enable_seqscan = off; SELECT string_agg(id::text, ',' ORDER BY id) FROM $from") }

$cluster->sql(q(
    CREATE TABLE docs (id int, body text);
    CREATE INDEX docs_answer ON docs ((body || steadytext_generate('constant answer')));
    CREATE INDEX docs_some ON docs (id) WHERE body <> steadytext_generate('constant answer');
    CREATE TABLE vectors (id int, v vector(1024));
    CREATE INDEX vectors_distance ON vectors ((v <=> steadytext_embed('a query')));
    CREATE FUNCTION wrapped() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN public.steadytext_generate('constant answer'); END $$;
    CREATE TABLE wraps (id int, body text);
    CREATE INDEX wraps_answer ON wraps ((body || wrapped()));
    CREATE DOMAIN other AS text CHECK (VALUE <> steadytext_generate('constant answer'));
    CREATE TABLE parts (a text) PARTITION BY LIST ((a || steadytext_generate('constant answer')));
    CREATE TABLE parts_x PARTITION OF parts FOR VALUES IN ('xconstant answer');
    CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
));
my $of_docs    = q(docs WHERE body || steadytext_generate('constant answer') = 'rowconstant answer');
my $of_wraps   = q(wraps WHERE body || wrapped() = 'rowconstant answer');
my $of_vectors = q(vectors WHERE (v <=> steadytext_embed('a query')) < 10);
my $rows       = sub { my ($id) = @_; return "INSERT INTO docs VALUES ($id, 'row'); INSERT INTO wraps VALUES ($id, 'row'); INSERT INTO vectors SELECT $id, steadytext_embed('v');" };
sub all_are_found {
    my ($ids, $when) = @_;
    like($cluster->sql("SET enable_seqscan = off; EXPLAIN (COSTS off) SELECT id FROM $_->[0]"), qr/$_->[1]/, "$_->[1] is used") for [ $of_docs, 'docs_answer' ], [ $of_wraps, 'wraps_answer' ], [ $of_vectors, 'vectors_distance' ];
    is(by_index($_), $ids, "$when: all rows are found by the index of " . (split ' ')[0]) for $of_docs, $of_wraps, $of_vectors;
    return;
}

$cluster->sql($rows->(1));
all_are_found('1', 'to begin with');

{
    my $session = $cluster->session;
    $session->ask(q(SET client_min_messages = error; SET steadytext.request_timeout = '300ms';));
    while_stopped($session, q(SELECT count(*) FROM docs; SELECT count(*) FROM wraps; SELECT count(*) FROM vectors;));
    $session->ask($rows->(2));
    $session->finish;
    all_are_found('1,2', 'inserted after a SELECT that no daemon answered');
}
{
    my $session = $cluster->session;
    $session->ask(q(SET client_min_messages = error; SET steadytext.request_timeout = '300ms'; BEGIN;));
    while_stopped($session, qq(SET enable_seqscan = off; SET enable_bitmapscan = off; DECLARE d CURSOR FOR SELECT id FROM docs WHERE body || steadytext_generate('constant answer') > 'a'; FETCH d;
        DECLARE w CURSOR FOR SELECT id FROM wraps WHERE body || wrapped() > 'a'; FETCH w; DECLARE v CURSOR FOR SELECT id FROM vectors ORDER BY v <=> steadytext_embed('a query'); FETCH v;));
    $session->ask($rows->(3) . ' COMMIT;');
    $session->finish;
    all_are_found('1,2,3', 'inserted while a cursor is open, which none answered');
}
for my $block ([ 4, 'ANALYZE docs; ANALYZE wraps; ANALYZE vectors; ' x 2 ], [ 5, 'DO $$ BEGIN ' . ('ANALYZE docs; ANALYZE wraps; ANALYZE vectors; ' x 2) . 'INSERT INTO docs VALUES (5, \'row\'); END $$;' ]) {
    my ($id, $sql) = @$block;
    $cluster->sql('SELECT steadytext_cache_clear()');
    my $session = $cluster->session;
    $session->ask($sql);
    my $insert_rows = $rows->($id);
    $insert_rows =~ s/INSERT INTO docs[^;]*;// if $sql =~ /INSERT/;
    $session->ask($insert_rows);
    $session->finish;
    all_are_found(join(',', 1 .. $id), "inserted after ANALYZE $id");
}
{
    my $session = $cluster->session;
    $session->ask(q(SET client_min_messages = error; SET steadytext.request_timeout = '300ms';));
    while_stopped($session, q(SELECT 'x'::other; SELECT count(*) FROM parts WHERE a || steadytext_generate('constant answer') = 'y';));
    $session->ask(q(INSERT INTO parts VALUES ('x');));
    is($cluster->sql('SELECT tableoid::regclass FROM parts'), 'parts_x', 'a partition key that none answered is evaluated again');
    $session->ask(q(CREATE TABLE checked (a text); DO $$ BEGIN INSERT INTO checked SELECT 'constant answer'::other; EXCEPTION WHEN check_violation THEN INSERT INTO checked VALUES ('refused'); END $$;));
    is($cluster->sql('SELECT a FROM checked'), 'refused', 'so is the CHECK of a domain');
    $session->finish;
}

# ---- callbacks ----------------------------------------------------------------------------------------------------------

$cluster->sql('CREATE TABLE kept (how text, a text)');
my %bodies = (
    'by assignment'      => q(a := public.steadytext_generate('!fault:error x')),
    'by SELECT INTO'     => q(SELECT public.steadytext_generate('!fault:error x') INTO a),
    'of an aggregate'    => q(SELECT string_agg(public.steadytext_generate('!fault:error x' || i), ',') INTO a FROM generate_series(1, 2) i),
    'by EXECUTE'         => q(EXECUTE 'SELECT public.steadytext_generate($1)' INTO a USING '!fault:error x'),
    'by a loop'          => q(FOR a IN SELECT public.steadytext_generate('!fault:error x') LOOP INSERT INTO public.kept VALUES ('a loop', a); END LOOP),
    'of a query of rows' => q(a := (SELECT public.steadytext_generate('!fault:error x'))),
    'answered'           => q(SELECT public.steadytext_generate('an answer') INTO a),
);
for my $how (sort keys %bodies) {
    $cluster->sql("CREATE OR REPLACE FUNCTION public.called(id uuid) RETURNS void LANGUAGE plpgsql AS \$\$ DECLARE a text; BEGIN $bodies{$how}; INSERT INTO public.kept VALUES ('$how', a); END \$\$");
    my $id = $cluster->sql(q(SELECT steadytext_enqueue('generate', '{"prompt": "good"}', callback => 'public.called(uuid)')));
    my $ends = $how eq 'answered' ? 'done' : 'failed';
    ok($cluster->poll_until("SELECT callback_state FROM steadytext_queue WHERE request_id = '$id'", $ends), "a callback that stores what it asked for, $how: $ends");
    like($cluster->sql("SELECT callback_error FROM steadytext_queue WHERE request_id = '$id'"), $ends eq 'done' ? qr/^$/ : qr/fault|daemon/, "$how: and says why");
}
is($cluster->sql(q(SELECT string_agg(how || ': ' || a, ',') FROM kept)), 'answered: an answer', 'answers are stored, and nothing else');
done_testing;
