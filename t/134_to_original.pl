# scripts/to-original where others have been: who owns the database has put views and tables in the place of the extension's, and objects have names
# with lines of their own. Nothing of theirs runs as the superuser who goes back, no row gets lost, and what the script prints can be run. That
# it brings the original's own package back is in t/139_migration.pl.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Original;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
$cluster->sql('CREATE ROLE landlord LOGIN; CREATE ROLE mallory LOGIN');
$cluster->sql('CREATE DATABASE theirs OWNER landlord');
sub in    { my ($sql, %options) = @_; return $cluster->sql($sql, database => 'theirs', %options) }
sub by    { my ($user, $sql) = @_; return in($sql, user => $user) }
sub script {
    my ($step) = @_;
    local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = (@{$cluster}{qw(PGHOST PGPORT PGUSER)}, 'theirs');
    my $output = `$SteadyText::Cluster::ROOT/scripts/to-original $step 2>&1`;
    return ($? >> 8, $output);
}
sub psql { my ($sql) = @_; return $cluster->try_sql("\\set ON_ERROR_STOP 0\n$sql", database => 'theirs') }
sub ran  { return join ' ', grep { $_ ne 'landlord' && $_ ne 'mallory' } $cluster->log =~ /snare ran as (\w+)/g }
my @tables = qw(cache queue config rate_limits audit_log prompts prompt_versions);
my @ours   = qw(rate_limit_rules budgets usage prices incidents prompt_label_moves);

in('CREATE EXTENSION pg_steadytext CASCADE; GRANT CREATE ON SCHEMA public TO landlord; CREATE SCHEMA mallory AUTHORIZATION mallory; CREATE SCHEMA snare AUTHORIZATION landlord; GRANT USAGE ON SCHEMA snare TO PUBLIC');
in(q(ALTER SCHEMA public OWNER TO landlord; SELECT steadytext_generate('question'); SELECT steadytext_frecency_refresh();
    SELECT steadytext_prompt_create('a-prompt', 'Hello {{ name }}'); SELECT steadytext_config_set('default_max_tokens', '77');
    SELECT steadytext_budget_set('landlord', '1 day', 1000); SELECT steadytext_price_set('a-model', 1, 2)));
$cluster->wait_for(sub { in('SELECT count(*) FROM steadytext_cache') > 0 }) or die 'nothing is cached';
by(landlord => q(
    CREATE FUNCTION snare.tell() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE LOG 'snare ran as %', current_user; RETURN 1; END$$;
    CREATE FUNCTION snare.tells() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM snare.tell(); RETURN coalesce(NEW, OLD); END$$));

# ---- check: names with lines of their own -----------------------------------------------------------------------------------------
by(mallory => qq(
    CREATE VIEW mallory."v
ALTER ROLE mallory SUPERUSER; --" AS SELECT steadytext_generate('x') g;
    CREATE VIEW mallory."v\r\\! touch it" AS SELECT steadytext_generate(E'a\\nALTER ROLE mallory SUPERUSER; --') AS "g
ALTER ROLE mallory SUPERUSER; --";
    CREATE VIEW mallory."\x{e2}\x{80}\x{ae}back" AS SELECT steadytext_generate('x') g;
    CREATE MATERIALIZED VIEW mallory."M ""1""" AS SELECT steadytext_version() AS g WITH NO DATA;
    CREATE TABLE mallory."t
ALTER ROLE mallory SUPERUSER; --" (x text DEFAULT steadytext_version(), "c
ALTER ROLE mallory SUPERUSER; --" text DEFAULT steadytext_version(), CONSTRAINT "k
ALTER ROLE mallory SUPERUSER; --" CHECK (steadytext_version() <> E'\\nALTER ROLE mallory SUPERUSER; --'));
    CREATE TABLE mallory.plain (x text);
    CREATE INDEX "i
ALTER ROLE mallory SUPERUSER; --" ON mallory.plain (steadytext_embed(x));
    CREATE INDEX i ON mallory.plain (steadytext_embed(x || E'\\nALTER ROLE mallory SUPERUSER; --'))));
my $atomic = psql(qq(SET ROLE mallory; CREATE FUNCTION mallory."f
ALTER ROLE mallory SUPERUSER; --"() RETURNS text BEGIN ATOMIC SELECT steadytext_generate('x'); END))->{state} eq '';
my ($status, $output) = script('check');
is($status, 0, 'check of names with lines of their own') or diag $output;
my @lines = split /\n/, $output;
is(scalar(grep { !/^(?:DROP (?:MATERIALIZED )?VIEW|ALTER TABLE|DROP INDEX|-- drop) / } @lines), 0, 'each line begins with what the script says') or diag $output;
like($output, qr/^DROP VIEW mallory\.U&"v\\000aALTER ROLE mallory SUPERUSER; --";  -- afterwards, as role mallory: CREATE VIEW mallory\.U&/m, 'a line feed is escaped');
like($output, qr/^DROP VIEW mallory\.U&"v\\000d\\\\! touch it";/m, 'a carriage return, and a backslash');
like($output, qr/^DROP VIEW mallory\.U&"\\202eback";/m, 'and a character that turns the line around');
psql($output);
is(in(q(SELECT count(*) FROM pg_roles WHERE rolname = 'mallory' AND rolsuper)), 0, 'what it prints can be run');
($status, $output) = script('check');
is(join("\n", grep { !/^-- drop function / } split /\n/, $output), '', 'and takes away what it names');
SKIP: {
    skip 'no functions of BEGIN ATOMIC here', 1 unless $atomic;
    like($output, qr/\A-- drop function mallory\."f ALTER ROLE mallory SUPERUSER; --"\(\)\n\z/, 'a function is a comment');
    in('DROP SCHEMA mallory CASCADE; CREATE SCHEMA mallory AUTHORIZATION mallory');
}

# ---- leave: others' objects in the place of the extension's tables ----------------------------------------------------------------
my $rows = sub { my ($schema) = @_; join ' ', map { in("SELECT count(*) FROM $schema.steadytext_$_") } @tables };
my $before = $rows->('public');
my $refused = sub {
    my ($step, $what, $said) = @_;
    my ($is, $text) = script($step);
    isnt($is, 0, "$step: $what");
    like($text, $said, '  it is said') or diag $text;
    is(ran(), '', '  nothing of theirs ran');
    is(in(q(SELECT count(*) FROM pg_extension WHERE extname = 'pg_steadytext')), 1, '  and the extension is there');
    return;
};
my $columns = sub { my ($schema, $table) = @_; return in("SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = '$schema.steadytext_$table'::regclass AND attnum > 0 AND NOT attisdropped") };
for my $kind ('VIEW', 'TABLE', 'MATERIALIZED VIEW') {
    by(landlord => 'ALTER SCHEMA public RENAME TO hidden; CREATE SCHEMA public');
    for my $table (@tables, @ours) {
        my $list = $columns->('hidden', $table);
        by(landlord => "SET search_path = hidden; CREATE $kind public.steadytext_$table AS SELECT $list" . ($kind eq 'VIEW' ? ' WHERE snare.tell() = 1' : ''));
    }
    $refused->('leave', "a $kind in the place of each table", qr/public\.steadytext_cache is not the table that pg_steadytext made|cannot lock relation "steadytext_cache"/);
    by(landlord => 'DROP SCHEMA public CASCADE; ALTER SCHEMA hidden RENAME TO public');
    is($rows->('public'), $before, '  all rows are there');
}
# The name changes its meaning while the script waits for a lock.
{
    my $reader = $cluster->session(database => 'theirs');
    $reader->ask('BEGIN; LOCK TABLE public.steadytext_prompt_versions IN ACCESS SHARE MODE;');
    local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = (@{$cluster}{qw(PGHOST PGPORT PGUSER)}, 'theirs');
    open my $leaving, '-|', "$SteadyText::Cluster::ROOT/scripts/to-original leave 2>&1" or die "to-original: $!";
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'), '1'), 'leave waits for a reader');
    by(landlord => 'ALTER SCHEMA public RENAME TO hidden; CREATE SCHEMA public');
    for my $table (@tables, @ours) {
        my $list = $columns->('hidden', $table);
        by(landlord => "SET search_path = hidden; CREATE VIEW public.steadytext_$table AS SELECT $list WHERE snare.tell() = 1");
    }
    $reader->ask('COMMIT;');
    my $text = join '', <$leaving>;
    ok(!close $leaving, '  and is refused');
    like($text, qr/not the table that pg_steadytext made/, '  it is said') or diag $text;
    is(ran(), '', '  nothing of theirs ran');
    $reader->finish;
    by(landlord => 'DROP SCHEMA public CASCADE; ALTER SCHEMA hidden RENAME TO public');
    is($rows->('public'), $before, '  all rows are there');
}
# Grants are said before they go, with names that stay names.
$cluster->sql(qq(CREATE ROLE "r
ALTER ROLE mallory SUPERUSER; --"));
in(qq(GRANT SELECT (slug), REFERENCES ON steadytext_prompts TO "r
ALTER ROLE mallory SUPERUSER; --"; GRANT SELECT ON steadytext_config TO mallory WITH GRANT OPTION));
by(landlord => 'CREATE SCHEMA steadytext_kept');
$refused->('leave', 'a schema steadytext_kept of the landlord', qr/schema steadytext_kept exists/);
by(landlord => 'DROP SCHEMA steadytext_kept');
in('ALTER TABLE steadytext_queue OWNER TO mallory');
$refused->('leave', 'a table that belongs to another role', qr/public\.steadytext_queue belongs to role mallory/);
in('ALTER TABLE steadytext_queue OWNER TO steadytext_owner');
in('CREATE TABLE snare.child () INHERITS (steadytext_cache)');
$refused->('leave', 'a table with a child', qr/^-- drop table snare\.child$/m);
in('DROP TABLE snare.child');
{
    local $ENV{PGOPTIONS} = '-c role=landlord';
    $refused->('leave', 'a role that is no superuser', qr/only a superuser|permission denied|must be owner/);
}
# Settings that the landlord makes for all who connect.
by(landlord => "ALTER DATABASE theirs SET $_") for q(search_path = snare, public), q(standard_conforming_strings = off), q(client_min_messages = error), q(default_transaction_isolation = 'serializable'),
    q(transform_null_equals = on), q(statement_timeout = '1ms'), q(client_encoding = 'SJIS'), q(quote_all_identifiers = on), q(check_function_bodies = off), q(row_security = off), q(default_transaction_read_only = on);
by(landlord => q(SET default_transaction_read_only = off; SET statement_timeout = 0; SET search_path = snare, public;
    CREATE FUNCTION snare.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT snare.tell() = 1'; CREATE OPERATOR snare.= (LEFTARG = text, RIGHTARG = text, FUNCTION = snare.same)));
($status, $output) = script('leave');
is($status, 0, 'leave, whatever the landlord has set') or diag $output;
like($output, qr/^steadytext_cache: [1-9]\d* rows kept$/m, '  the rows are kept');
is(join("\n", sort $output =~ /^(GRANT .*)$/mg), join("\n", 'GRANT REFERENCES ON public.steadytext_prompts TO U&"r\\000aALTER ROLE mallory SUPERUSER; --";',
    'GRANT SELECT (slug) ON public.steadytext_prompts TO U&"r\\000aALTER ROLE mallory SUPERUSER; --";', 'GRANT SELECT ON public.steadytext_config TO mallory WITH GRANT OPTION;'), '  grants to roles are said, no others');
my $grants = join "\n", $output =~ /^(GRANT .*)$/mg;
$cluster->sql('ALTER DATABASE theirs RESET ALL');
is($rows->('steadytext_kept'), $before, '  all of them') if ran() eq '';
is(in(q(SELECT tokens || ' ' || per_million_completion FROM steadytext_kept.steadytext_budgets, steadytext_kept.steadytext_prices)), '1000 2', '  budgets and prices, too, which the original does not have');
is(ran(), '', '  nothing of theirs ran');

# ---- return: others' objects on, and in the place of, the original's tables -------------------------------------------------------
sub refused_return {
    my ($what, $said) = @_;
    my ($is, $text) = script('return');
    isnt($is, 0, "return: $what");
    like($text, $said, '  it is said') or diag $text;
    is(ran(), '', '  nothing of theirs ran');
    is($rows->('steadytext_kept'), $before, '  and the rows are kept');
    return;
}
# This version in the place of the original.
in('CREATE EXTENSION pg_steadytext');
($status, $output) = script('keep');
isnt($status, 0, 'keep is for the original');
refused_return('another version than the original\'s last', qr/version [\d.]+ of pg_steadytext is installed here.*CREATE EXTENSION pg_steadytext VERSION '2025\.11\.25'/s);
in('DROP EXTENSION pg_steadytext');
# Without the original: tables of the landlord.
for my $table (@tables) {
    my $list = $columns->('steadytext_kept', $table);
    by(landlord => "CREATE TABLE public.steadytext_$table AS SELECT $list; TRUNCATE public.steadytext_$table;
        CREATE TRIGGER tells BEFORE INSERT ON public.steadytext_$table FOR EACH ROW EXECUTE FUNCTION snare.tells()");
}
refused_return('tables of the landlord', qr/public\.steadytext_cache is not the table that pg_steadytext made.*belongs to role landlord.*trigger tells on public\.steadytext_cache/s);
by(landlord => join '', map { "DROP TABLE public.steadytext_$_;" } @tables);
in("CREATE EXTENSION pg_steadytext VERSION '2025.11.25'");
by(landlord => 'ALTER SCHEMA public RENAME TO hidden; CREATE SCHEMA public');
by(landlord => "CREATE TABLE public.steadytext_$_ (id int)") for @tables;
refused_return('the landlord\'s tables in the place of the original\'s', qr/public\.steadytext_config is not the table that pg_steadytext made/);
by(landlord => 'DROP SCHEMA public CASCADE; ALTER SCHEMA hidden RENAME TO public');
for my $plant (
    [ 'a trigger', 'CREATE TRIGGER tells BEFORE INSERT ON steadytext_config FOR EACH ROW EXECUTE FUNCTION snare.tells()', 'DROP TRIGGER tells ON steadytext_config', qr/trigger tells on public\.steadytext_config/ ],
    [ 'a trigger with a line of its own', qq(CREATE TRIGGER "x\nHINT:  do" BEFORE INSERT ON steadytext_config FOR EACH ROW EXECUTE FUNCTION snare.tells()), qq(DROP TRIGGER "x\nHINT:  do" ON steadytext_config), qr/trigger "x HINT:  ?do" on/ ],
    [ 'a rule', 'CREATE RULE tells AS ON INSERT TO steadytext_cache DO ALSO SELECT snare.tell()', 'DROP RULE tells ON steadytext_cache', qr/rule tells on public\.steadytext_cache/ ],
    [ 'a policy', 'CREATE POLICY tells ON steadytext_cache USING (snare.tell() = 1)', 'DROP POLICY tells ON steadytext_cache', qr/policy tells on/ ],
    [ 'row security', 'ALTER TABLE steadytext_cache ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'ALTER TABLE steadytext_cache DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', qr/steadytext_cache has row security/ ],
    [ 'a child', 'CREATE TABLE snare.child () INHERITS (steadytext_queue)', 'DROP TABLE snare.child', qr/steadytext_queue has children/ ],
    [ 'a default', 'ALTER TABLE steadytext_queue ALTER retry_count SET DEFAULT snare.tell()', 'ALTER TABLE steadytext_queue ALTER retry_count SET DEFAULT 0', qr/of public\.steadytext_queue uses function snare\.tell\(\)/ ],
    [ 'a check', 'ALTER TABLE steadytext_prompts ADD CONSTRAINT c CHECK (snare.tell() = 1) NOT VALID', 'ALTER TABLE steadytext_prompts DROP CONSTRAINT c', qr/constraint c .*uses function snare\.tell\(\)/ ],
    [ 'a check that has the name of the original\'s', 'ALTER TABLE steadytext_cache DROP CONSTRAINT steadytext_cache_model_size_check, ADD CONSTRAINT steadytext_cache_model_size_check CHECK (snare.tell() = 1) NOT VALID',
        q(ALTER TABLE steadytext_cache DROP CONSTRAINT steadytext_cache_model_size_check, ADD CONSTRAINT steadytext_cache_model_size_check CHECK (model_size IN ('small', 'medium', 'large'))), qr/uses function snare\.tell\(\)/ ],
    [ 'an index', 'CREATE INDEX i ON steadytext_cache ((id + 1)) WHERE id > 0', 'DROP INDEX i', qr/index public\.i on table public\.steadytext_cache/ ],
    [ 'a generated column', 'ALTER TABLE steadytext_rate_limits ADD evil int GENERATED ALWAYS AS (1) STORED', 'ALTER TABLE steadytext_rate_limits DROP evil', qr/column evil of table public\.steadytext_rate_limits/ ],
    [ 'an owner', 'ALTER TABLE steadytext_audit_log OWNER TO landlord', 'ALTER TABLE steadytext_audit_log OWNER TO CURRENT_USER', qr/public\.steadytext_audit_log belongs to role landlord/ ],
    [ 'a foreign owner of what is kept', 'ALTER TABLE steadytext_kept.steadytext_audit_log OWNER TO landlord', 'ALTER TABLE steadytext_kept.steadytext_audit_log OWNER TO CURRENT_USER', qr/steadytext_kept\.steadytext_audit_log belongs to role landlord/ ],
    [ 'a foreign owner of the schema', 'ALTER SCHEMA steadytext_kept OWNER TO landlord', 'ALTER SCHEMA steadytext_kept OWNER TO CURRENT_USER', qr/schema steadytext_kept belongs to role landlord/ ],
    [ 'a view beside what is kept', 'CREATE VIEW steadytext_kept.steadytext_more AS SELECT snare.tell()', 'DROP VIEW steadytext_kept.steadytext_more', qr/steadytext_kept\.steadytext_more is not a table/ ]) {
    my ($what, $do, $undo, $said) = @$plant;
    in("SET client_min_messages = warning; $do");
    refused_return($what, $said);
    in("SET client_min_messages = warning; $undo");
}
by(landlord => q(CREATE FUNCTION public.vector_dims(anyelement) RETURNS int LANGUAGE sql AS 'SELECT snare.tell()'; ALTER DATABASE theirs SET search_path = snare, public));
($status, $output) = script('return');
is($status, 0, 'then the rows come back') or diag $output;
like($output, qr/steadytext_cache: [1-9]\d* rows are back/, '  and are counted') or diag $output;
like($output, qr/steadytext_budgets: 1 rows stay in steadytext_kept/, '  so are those that the original has no table for') or diag $output;
is(in('SELECT tokens FROM steadytext_kept.steadytext_budgets'), 1000, '  which are there');
is(ran(), '', '  nothing of theirs ran');
in('SET client_min_messages = warning; SET standard_conforming_strings = on; ' . $grants);
is(in(q(SELECT count(*) FROM pg_roles WHERE rolname = 'mallory' AND rolsuper)), 0, '  the printed grants can be run');
is(in(q(SELECT has_table_privilege('mallory', 'public.steadytext_config', 'SELECT WITH GRANT OPTION'))), 't', '  and grant');
in('DROP SCHEMA steadytext_kept CASCADE; CREATE TRIGGER tells BEFORE INSERT ON public.steadytext_config FOR EACH ROW EXECUTE FUNCTION snare.tells()');
($status, $output) = script('keep');
isnt($status, 0, 'keep: a trigger on the original\'s table');
like($output, qr/trigger tells on public\.steadytext_config/, '  it is said') or diag $output;
in('DROP TRIGGER tells ON public.steadytext_config');
($status, $output) = script('keep');
is($status, 0, 'without it, keep copies') or diag $output;
is($rows->('steadytext_kept'), $rows->('public'), '  each row');
isnt((script('keep'))[0], 0, '  and does not copy over a copy');
is(ran(), '', '  nothing of theirs ran');
in('SELECT snare.tell()');
like(ran(), qr/\w/, 'it would have told');

done_testing;
