# Tables of the extension that somebody has locked: who can do so, and that nobody's calls wait for it. Whoever may change rows of a table may also
# LOCK TABLE it, and leave the transaction open; and PostgreSQL itself lets any role hold up who wants to read a table, which stalls calls for as
# long as they may take, and evades no limit.
use strict;
use warnings;
use SteadyText::Attack;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes ();

my $bound   = 1;  # seconds; what a call may take
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '${bound}s'", 'max_worker_processes = 20' ]);
my %roles   = (plain => '', monitor => 'GRANT pg_monitor TO monitor', server_admin => 'GRANT steadytext_server_admin TO server_admin',
    admin => q(SELECT steadytext_admin_grant('admin')), owner => "ALTER DATABASE $cluster->{PGDATABASE} OWNER TO owner; ALTER SCHEMA public OWNER TO owner");
$cluster->sql("CREATE ROLE $_ LOGIN; $roles{$_}") for sort keys %roles;

# The extension's tables, as the catalog lists them.
my @tables = split /\n/, $cluster->sql(q(SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext'
    WHERE c.relkind = 'r' ORDER BY 1));
my @modes = ('ACCESS SHARE', 'ROW SHARE', 'ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE', 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE');

# ---- who can ---------------------------------------------------------------------------------------------------------------------

# The statements, as the role, each undone at once: SQLSTATEs in their order.
sub states {
    my ($role, @statements) = @_;
    my $list = join ', ', map { "\$q\$$_\$q\$" } @statements;
    return split / /, $cluster->sql("SET lock_timeout = '10s'; SET client_min_messages = error;
        DO \$do\$
        DECLARE
            statement text;
            states text[] = '{}';
        BEGIN
            FOREACH statement IN ARRAY ARRAY[$list] LOOP
                BEGIN
                    EXECUTE statement;
                    RAISE EXCEPTION USING ERRCODE = 'DONE0';
                EXCEPTION WHEN OTHERS THEN
                    states := states || SQLSTATE::text;
                END;
            END LOOP;
            PERFORM set_config('tried.states', array_to_string(states, ' '), false);
        END \$do\$;
        SELECT current_setting('tried.states')", user => $role);
}
my %strongest;
for my $role (sort keys %roles) {
    my @tries  = map { my $table = $_; map { [ $table, $_ ] } reverse @modes } @tables;
    my @states = states($role, map { "LOCK TABLE $_->[0] IN $_->[1] MODE" } @tries);
    is(join(' ', sort grep { !/^(DONE0|42501)$/ } @states), '', "$role locks each table or may not");
    for my $i (grep { $states[$_] eq 'DONE0' } 0 .. $#tries) {
        $strongest{$role}{ $tries[$i][0] } //= $tries[$i][1];
    }
}
for my $role (grep { $_ ne 'admin' } sort keys %roles) {
    is(join(', ', map { "$_ ($strongest{$role}{$_})" } grep { $strongest{$role}{$_} !~ /^(ACCESS|ROW) SHARE$/ } sort keys %{ $strongest{$role} }), '',
        "$role can lock no table against anybody");
}
my @lockable = grep { $strongest{admin}{$_} eq 'ACCESS EXCLUSIVE' } sort keys %{ $strongest{admin} };
is(join(' ', @lockable), join(' ', grep { $cluster->sql("SELECT has_table_privilege('admin', '$_', 'UPDATE, DELETE, TRUNCATE')") eq 't' } @tables),
    'an administrator can lock those of which it may change or delete rows');
note "an administrator locks @lockable";

# The owner of the database, and of schema public, changes nothing about them.
for my $table (@tables) {
    my ($column) = split /\n/, $cluster->sql("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 LIMIT 1");
    my @statements = ("ALTER TABLE $table ADD more int", "ALTER TABLE $table OWNER TO owner", "ALTER TABLE $table SET SCHEMA pg_catalog",
        "ALTER TABLE $table RENAME TO other", "DROP TABLE $table", "TRUNCATE $table", "CREATE INDEX ON $table ($column)", "CLUSTER $table", "COMMENT ON TABLE $table IS ''",
        "CREATE RULE r AS ON INSERT TO $table DO INSTEAD NOTHING", "CREATE POLICY p ON $table", "CREATE STATISTICS s ON ctid, tableoid FROM $table", "GRANT ALL ON $table TO owner; LOCK TABLE $table IN ROW EXCLUSIVE MODE",
        "CREATE TRIGGER t BEFORE INSERT ON $table FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()");
    my @states = states('owner', @statements);
    is(join('; ', map { "$statements[$_] ($states[$_])" } grep { $states[$_] !~ /^(42501|2BP01)$/ } 0 .. $#statements), '', "the owner of the database cannot change $table");
}

# ---- what it does ----------------------------------------------------------------------------------------------------------------

sub lock_all { my $session = $cluster->session(user => 'admin'); $session->ask('BEGIN; ' . join ' ', map { "LOCK TABLE $_ IN ACCESS EXCLUSIVE MODE;" } @lockable); return $session }
sub new_text { our $number++; return "text $number" }
sub ask { my ($session, $sql) = @_; my $start = Time::HiRes::time(); my $said = $session->ask("$sql;"); return ($said, Time::HiRes::time() - $start) }

$cluster->sql(q(SELECT steadytext_budget_set('plain', '1 day', 1000000); SELECT steadytext_rate_limit_set('plain', requests => 100000, per => '1 hour')));
my $known = $cluster->session(user => 'plain');
my @calls = ([ generate => sub { my $text = new_text(); ("SELECT steadytext_generate('$text', use_cache => false)", $text) } ], [ embed => sub { ("SELECT vector_dims(steadytext_embed('" . new_text() . "', use_cache => false))", '1024') } ],
    [ batch => sub { my $text = new_text(); ("SELECT response FROM steadytext_generate_batch(ARRAY['$text'], use_cache => false)", $text) } ],
    [ stream => sub { my $text = new_text(); ("SELECT string_agg(t, '') FROM steadytext_generate_stream('$text') t", $text) } ],
    [ cached => sub { ("SELECT steadytext_generate('always the same')", 'always the same') } ]);
for my $call (@calls) {
    my ($sql, $expected) = $call->[1]->();
    is((ask($known, $sql))[0], $expected, "$call->[0] before");
}

{
    my $holder = lock_all();
    for my $call (@calls) {
        my ($sql, $expected) = $call->[1]->();
        my ($said, $took) = ask($known, $sql);
        is($said, $expected, "$call->[0] while an administrator has every table locked that it can") or diag $known->{err};
        cmp_ok($took, '<', $bound, sprintf '  without waiting (%.2f s)', $took);
    }
    my $new = $cluster->try_sql(q(SELECT steadytext_generate('new here')), user => 'plain');
    is($new->{state}, '55P03', 'a session that knows no settings yet waits for them, in vain');
    like($new->{err}, qr/CONTEXT:.*reading table steadytext_\w+, which another transaction has locked/, '  says what for');
    cmp_ok($new->{seconds}, '<', $bound + 2, sprintf '  and no longer than a call may take (%.2f s)', $new->{seconds});
    # A limit nobody can read is no failure of a daemon.
    for my $policy (qw(auto fallback null)) {
        is($cluster->try_sql("SET steadytext.on_failure = '$policy'; SET steadytext.on_limit = 'null'; SELECT steadytext_generate('new here')", user => 'plain')->{state}, '55P03', "  also with on_failure = $policy");
    }
    my $health = $cluster->try_sql(q(SELECT string_agg(component || ' ' || status, ', ') FROM steadytext_health_check()));
    cmp_ok($health->{seconds}, '<', $bound, sprintf 'the health check answers (%.2f s)', $health->{seconds}) or diag "$health->{out} $health->{err}";

    # Every function that everybody may call: only what shows rows of a table, in SQL, waits for it as a SELECT does.
    my $patience  = 2 * $bound + 1;
    my @targets   = SteadyText::Attack::targets($cluster, calls => 1);
    my %may       = map { ($_ => 1) } split /\n/, $cluster->sql('SELECT f FROM unnest(ARRAY[' . join(', ', map { "'$_->[0]'" } @targets) . q{]) f WHERE has_function_privilege('plain', f, 'EXECUTE')});
    my @functions = grep { $may{ $_->[0] } } @targets;
    my @sessions = map { $cluster->session(user => 'plain') } 1 .. 6;  # most of them wait most of the time
    $_->send("\\set ON_ERROR_STOP 0\nSET lock_timeout = '${patience}s'; SET client_min_messages = fatal;\n\\o /dev/null\n\\timing on\n") for @sessions;
    for my $i (0 .. $#functions) {
        $sessions[ $i % @sessions ]->send("\\echo function $functions[$i][0]\n$functions[$i][2]");
    }
    my %took = map { my @told = $_->finish->{out} =~ /^function (.*)\nTime: ([\d.]+) ms/mg; map { $_ % 2 ? $told[$_] / 1000 : $told[$_] } 0 .. $#told } @sessions;
    is(join(', ', grep { !exists $took{$_} } map { $_->[0] } @functions), '', 'each function is called');
    ok($took{'steadytext_generate(text,integer,boolean,integer,text,text,text,text,text,boolean)'}, scalar(keys %took) . ' functions are called');
    my @patient = grep { $took{$_} >= $patience } sort keys %took;
    note "@patient wait for the rows they show";
    is(join(', ', grep { $cluster->sql("SELECT lanname FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE p.oid = '$_'::regprocedure") eq 'c' } @patient), '', '  what waits is in SQL');
    is(join(', ', map { sprintf '%s %.1f s', $_, $took{$_} } grep { $took{$_} < $patience && $took{$_} > $bound + 1 } sort keys %took), '', '  all else ends in the time of a call');
    $holder->ask('COMMIT;');
    $holder->finish;
}

# What is committed counts at once, also for who went on with what it knew.
{
    my $holder = lock_all();
    $holder->ask(q(SELECT steadytext_rate_limit_set('plain', requests => 0, per => '1 hour');));
    is((ask($known, q(SELECT steadytext_generate('still free', use_cache => false))))[0], 'still free', 'a limit that is not committed binds nobody');
    $holder->ask('COMMIT;');
    $known->ask(q(SELECT steadytext_generate('bound', use_cache => false);));
    my $end = $known->finish;
    is($end->{state}, '53400', 'committed, it does');
    $holder->finish;
}

# Any role holds up who would read a table: PREPARE locks it before rights are looked at, and so does ALTER INDEX, whose stronger lock waits for that
# one and has everybody else wait behind it.
{
    $cluster->sql('CREATE ROLE eve LOGIN');
    my $stall = sub {
        my ($table) = @_;
        my $reader  = $cluster->session(user => 'eve');
        $reader->ask("BEGIN; PREPARE p AS SELECT 1 FROM $table;");
        return sub {
            my $changer = $cluster->session(user => 'eve')->send("ALTER INDEX $table DEPENDS ON EXTENSION plpgsql");
            $cluster->poll_until("SELECT count(*) FROM pg_locks WHERE relation = '$table'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted", 1) or die "$table is free";
            return sub {
                $reader->ask('COMMIT;');
                $reader->finish;
                return $changer->finish->{state};
            };
        };
    };

    # A limit is committed after a session has known that there is none, and then the table is held up.
    my $rules   = 'steadytext_rate_limit_rules';
    my $evader  = $cluster->session(user => 'eve');
    my $call    = sub { my $text = new_text(); my ($said, $took) = ask($evader, "SELECT steadytext_generate('$text', use_cache => false)"); return ($said eq $text, $took) };
    $evader->ask("\\set ON_ERROR_STOP 0\nSET steadytext.request_timeout = '${\ (2 * $bound)}s';");
    ok(($call->())[0], 'a call of a session that knows no limit of its role');
    my $hold = $stall->("public.$rules");
    $cluster->sql(q(SELECT steadytext_rate_limit_set('eve', requests => 1, per => '1 hour')));
    my $free    = $hold->();
    my $start   = Time::HiRes::time();
    my ($answered, $is_answered, $took) = (0);
    $answered++ while ($is_answered, $took) = $call->(), $is_answered && Time::HiRes::time() - $start < 20 * $bound;
    my $evaded = Time::HiRes::time() - $start;
    ok($answered > 0, 'goes on with what the session knows');
    ok(!$is_answered, "but not without an end: $answered calls are answered");
    cmp_ok($evaded, '<', 2 * 2 * $bound + 2, sprintf 'the session sets how long a call may take, and goes on and waits for as long each (%.2f s)', $evaded);
    like($evader->{err}, qr/^ERROR:\s+55P03: table $rules is locked by another transaction.*^HINT:.*pg_locks WHERE relation = \d+.*pg_blocking_pids/ms, 'the error names the table, and how to find who has it locked');
    ($is_answered, $took) = $call->();
    ok(!$is_answered && $took < $bound, sprintf 'the next call fails at once (%.2f s)', $took);
    my $id = $cluster->sql(q(SELECT steadytext_generate_async('put off')), user => 'monitor');
    ok($cluster->poll_until("SELECT status || ' ' || (error LIKE 'table $rules is locked%') FROM steadytext_queue WHERE request_id = '$id'", 'pending true'), 'an asynchronous call is put off for it');
    like($free->(), qr{^42}, 'who holds it up has no right to anything of it');
    ok(($call->())[0], 'the table is free: the limit has room for one call');
    $evader->{err} = '';
    ok(!($call->())[0], 'and for no other');
    like($evader->{err}, qr/^ERROR:\s+53400:/m, 'which it says');
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$id'", 'completed'), 'the asynchronous call is carried out');
    $evader->finish;

    # A new session waits no longer than a call may, and says for what.
    for my $table (map { "steadytext_$_" } qw(config rate_limit_rules)) {
        my $end = $stall->("public.$table")->();
        my $new = $cluster->try_sql(q(SELECT steadytext_generate('new here')), user => 'plain');
        is($new->{state}, '55P03', "a new session waits for $table in vain");
        like($new->{err}, qr/table $table is locked by another transaction.*HINT:.*pg_locks/s, '  says so');
        cmp_ok($new->{seconds}, '<', $bound + 2, sprintf '  and in time (%.2f s)', $new->{seconds});
        $end->();
    }
}

# Workers: what was queued before is done, once the tables are free; callbacks, cache and audit go on.
{
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('plain'); SELECT steadytext_budget_remove('plain', '1 day')));
    # The worker knows that the limit is gone; else it goes on with the one it knew, and what meets a limit waits for minutes.
    my $free = $cluster->sql(q(SELECT steadytext_generate_async('free')), user => 'plain');
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$free'", 'completed'), 'a call is carried out');
    my $id = $cluster->sql(q(SELECT steadytext_generate_async('!fault:delay=300 queued')), user => 'plain');
    my $holder = lock_all();
    my $queued = $cluster->try_sql(q(SELECT steadytext_generate_async('not queued')), user => 'plain');
    is($queued->{state}, '55P03', 'an asynchronous call cannot be queued');
    cmp_ok($queued->{seconds}, '<', $bound + 2, sprintf '  which is said in time (%.2f s)', $queued->{seconds});
    my $asked = $cluster->try_sql("SELECT steadytext_get_async_result('$id', 1)", user => 'plain');
    is($asked->{state}, '55P03', 'nor a result be seen');
    cmp_ok($asked->{seconds}, '<', 4, sprintf '  which is said in time (%.2f s)', $asked->{seconds});
    $holder->ask('ROLLBACK;');
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$id'", 'completed'), 'what was queued before is done afterwards');
    $holder->finish;
}

done_testing;
