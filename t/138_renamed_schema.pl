# The owner of a database renames the schema public, and puts views, then tables with triggers, in the place of the extension's tables: nothing
# of theirs runs as steadytext_owner or as a superuser, whoever calls what and whatever the workers do; all goes on once the schema is back.
# (Who calls a function that lies in the landlord's schema trusts the landlord with its own rights: so no superuser calls one here.)
use strict;
use warnings;
use SteadyText::Attack;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'log_min_error_statement = panic' ]);
$cluster->sql('CREATE ROLE landlord LOGIN; CREATE ROLE tenant LOGIN');
$cluster->sql('CREATE DATABASE theirs OWNER landlord');
my $in = { database => 'theirs' };
$cluster->sql('CREATE EXTENSION pg_steadytext CASCADE', %$in);

# What the landlord plants says as whom it runs. Immutable, so that the planner runs it too.
my $plant = <<'SQL';
CREATE SCHEMA snare;
GRANT USAGE ON SCHEMA snare TO PUBLIC;
CREATE FUNCTION snare.tell(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.1 AS $$
BEGIN
    RAISE LOG 'snare % ran as %', what, current_user;
    RETURN true;
END $$;
CREATE FUNCTION snare.tells() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'snare trigger on % ran as %', TG_TABLE_NAME, current_user;
    RETURN coalesce(NEW, OLD);
END $$;
SQL
$cluster->sql($plant, %$in, user => 'landlord');

my $rename = 'ALTER SCHEMA public RENAME TO real; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC;';
my $back   = 'DROP SCHEMA public CASCADE; ALTER SCHEMA real RENAME TO public;';
my $each   = sub {
    my ($make) = @_;
    return sprintf q(DO $do$
        DECLARE name text;
        BEGIN
            FOR name IN SELECT c.relname FROM pg_class c WHERE relnamespace = 'real'::regnamespace AND relkind IN ('r', 'p', 'v') LOOP
                BEGIN
                    %s
                EXCEPTION WHEN insufficient_privilege THEN NULL;
                END;
                EXECUTE format('GRANT ALL ON public.%%I TO PUBLIC', name);
            END LOOP;
        END $do$;), $make;
};
# A view can only read what its owner may, so its columns have nulls.
my $columns = q((SELECT string_agg(format('NULL::%s AS %I', format_type(atttypid, atttypmod), attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = format('real.%I', name)::regclass AND attnum > 0 AND NOT attisdropped));
my %traps = (
    views => $each->(qq(EXECUTE format('CREATE VIEW public.%I AS SELECT %s WHERE snare.tell(%L) AND snare.tell(%L || random())', name, $columns, name, name);
        EXECUTE format('CREATE TRIGGER tells INSTEAD OF INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION snare.tells()', name);)),
    tables => $each->(qq(EXECUTE format('CREATE TABLE public.%I AS SELECT %s', name, $columns);
        EXECUTE format('CREATE TRIGGER tells BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.%I FOR EACH STATEMENT EXECUTE FUNCTION snare.tells()', name);)));

my @calls = grep { $_->[0] !~ /daemon_(start|stop)|queue_wait/ } SteadyText::Attack::targets($cluster, calls => 1, full => 1, in => $in);
cmp_ok(scalar @calls, '>', 150, scalar(@calls) . ' functions are called');
my $calls   = join '', map { "$_->[2];\n" } @calls;
my $renamed = $calls =~ s/\bpublic\.(?=steadytext_|st_)/real./gr;
my $sprung  = sub { my %by = map { $_ => 1 } $cluster->log =~ /(snare .* ran as (?:steadytext_owner|postgres)\b)/g; join ', ', sort keys %by };
my $quiet   = "\\set ON_ERROR_STOP 0\nSET client_min_messages = fatal; SET statement_timeout = '10s';\n";

# There is work for every worker at any time.
my $work = q(SELECT steadytext_generate_async('job ' || i) FROM generate_series(1, 20) i; SELECT steadytext_generate('call ' || i || E'\x01') FROM generate_series(1, 20) i;);

for my $trap (sort keys %traps) {
    my $ids = $cluster->sql($work, %$in, user => 'tenant');
    # Sessions that have kept their plans, and that have none.
    my ($old, $landlord) = ($cluster->session(%$in, user => 'tenant'), $cluster->session(%$in, user => 'landlord'));
    $_->ask("$quiet$calls", 120) for $old, $landlord;
    my $done    = $cluster->try_sql("$rename $traps{$trap}", %$in, user => 'landlord');
    is($done->{state}, '', "$trap are in the place of the tables") or diag $done->{err};
    $_->ask("$quiet$renamed", 120) for $old, $landlord;
    $cluster->try_sql("$quiet$renamed", %$in, user => $_, timeout => 120) for 'landlord', 'tenant';
    my ($stolen) = $ids =~ /^([0-9a-f-]{36})$/m;
    $cluster->try_sql("SELECT real.steadytext_cancel_async('$stolen')", %$in, user => 'tenant');
    $landlord->ask("$quiet$renamed", 120);
    is($sprung->(), '', '  nothing of them runs with rights that are not the landlord\'s');
    # Whoever is steadytext_owner, by a way that looks at a table's name before, reaches none of them.
    for my $relation (qw(steadytext_cache steadytext_queue steadytext_config)) {
        like($cluster->try_sql("SET ROLE steadytext_owner; $_", %$in)->{err}, qr/42501: a statement of role "steadytext_owner" must not use relation public.$relation/, "  $_")
            for "TABLE public.$relation", "DELETE FROM public.$relation", "WITH a AS (SELECT FROM (SELECT FROM public.$relation) b) SELECT 1 WHERE EXISTS (TABLE a)",
            "EXPLAIN DELETE FROM public.$relation", "CREATE TEMP TABLE t AS TABLE public.$relation", "DECLARE c CURSOR FOR TABLE public.$relation",
            "DO \$\$ BEGIN PERFORM FROM public.$relation; END \$\$", "COPY (TABLE public.$relation) TO STDOUT";
    }
    my $restored = $cluster->try_sql($back, %$in, user => 'landlord');
    is($restored->{state}, '', '  the schema is back') or diag $restored->{err};
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL AND prompt LIKE 'job %'), %$in) == 0 }, 60), '  and all that was queued is done')
        or diag $cluster->sql(q(SELECT id, request_type, status, error, run_at - now(), callback_state FROM steadytext_queue WHERE completed_at IS NULL AND prompt LIKE 'job %'), %$in);
    $cluster->sql("SELECT steadytext_generate('after $trap'); SELECT steadytext_frecency_refresh()", %$in);
    is($cluster->sql("SELECT count(*) FROM steadytext_cache WHERE prompt = 'after $trap'", %$in), 1, '  the keeper writes');
    $_->finish for $old, $landlord;
}
# Code that no statement shows, and statements that lend rights.
{
    $cluster->sql('CREATE DOMAIN snare.checked AS text CHECK (snare.tell(VALUE)); GRANT USAGE ON TYPE snare.checked TO PUBLIC', %$in, user => 'landlord');
    like($cluster->try_sql("SET ROLE steadytext_owner; $_", %$in)->{err}, qr/42501.*must not call function tell/, $_)
        for q(SELECT 'x'::snare.checked), q(DO $$ DECLARE x snare.checked := 'x'; BEGIN END $$), q(SELECT current_user::snare.checked);
    like($cluster->try_sql("SET ROLE steadytext_owner; DO \$\$ BEGIN EXECUTE '$_'; END \$\$", %$in)->{err}, qr/42501.*must not run/, $_)
        for 'GRANT ALL ON public.steadytext_cache TO PUBLIC', 'CREATE POLICY p ON public.steadytext_queue', 'ALTER TABLE public.steadytext_cache DISABLE TRIGGER ALL', 'TRUNCATE public.steadytext_cache',
            'DROP TABLE public.steadytext_cache', 'CREATE TEMP TABLE t (a int)';
    is($cluster->sql(q(SELECT string_agg(p.proname, ', ') FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_language l ON l.oid = p.prolang
        WHERE e.extname = 'pg_steadytext' AND l.lanname = 'plpgsql' AND p.prosrc ~ '\mDECLARE\M.*\mpublic\.[a-z_]+(%[a-z]+)?\s*(;|:=|DEFAULT|NOT NULL).*\mBEGIN\M'), %$in), '', 'no function declares a variable of a type in public');
}

# A plan that was made as another role.
{
    $cluster->sql('CREATE TABLE public.other (); GRANT ALL ON public.other TO PUBLIC', %$in);
    for my $mode (qw(force_generic_plan force_custom_plan)) {
        like($cluster->try_sql("SET plan_cache_mode = $mode; PREPARE p AS TABLE public.other; EXECUTE p; EXECUTE p; SET ROLE steadytext_owner; EXECUTE p", %$in)->{err},
            qr/42501.*must not use relation public.other/, "$mode: a plan made as another role");
    }
}
like($cluster->try_sql('SET ROLE steadytext_owner; SELECT snare.tell($$it$$)', %$in)->{err}, qr/42501.*must not call function tell/, 'nor a function of somebody\'s');
$cluster->sql('SELECT snare.tell($$this$$)', %$in);
like($cluster->log, qr/snare this ran as postgres/, 'it would have told');

done_testing;
