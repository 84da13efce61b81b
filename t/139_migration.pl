# From the PL/Python original as its package has it to this version, at size, and back: every row accounted for, every old key answering, and
# the original working again with its data. What the update does with each kind of row is in t/135_upgrade.pl and t/137_hostile_upgrade.pl.
use strict;
use warnings;
use File::Temp ();
use IPC::Run ();
use SteadyText::Cluster;
use SteadyText::Original 'real';
use Test::More;
use Time::HiRes qw(time);

# The original's Python needs packages, which the environment of its daemon has. The server's user cannot look into the cache that it is in.
my $packages = File::Temp->newdir('steadytext-packages-XXXXXX', TMPDIR => 1);
my $site     = `$SteadyText::Cluster::ROOT/scripts/python-daemon install && $SteadyText::Cluster::ROOT/scripts/python-daemon python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"], end="")'`;
my $has_python = $SteadyText::Original::has_python && $site ne '' && system("chmod 755 $packages && (cp -rl $site/. $packages/ || cp -r $site/. $packages/)") == 0;
$ENV{PYTHONPATH} = "$packages";

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", "steadytext.frecency_refresh_interval = '1s'" ]);
sub in { my ($database, $sql) = @_; return $cluster->sql($sql, database => $database) }
sub install { my ($database, $version) = @_; in($database => "CREATE EXTENSION plpython3u; CREATE EXTENSION IF NOT EXISTS vector; CREATE EXTENSION pg_steadytext VERSION '$version'"); return }

# ---- a database that has been in use ---------------------------------------------------------------------------------------
my ($answers, $embeddings, $jobs, $prompts) = (99_000, 1_000, 1_000, 50);
$cluster->sql('CREATE DATABASE old; CREATE ROLE asker LOGIN');
install(old => '2025.11.25');
in(old => qq(
    REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM PUBLIC; GRANT SELECT ON steadytext_cache TO asker;
    INSERT INTO steadytext_cache (cache_key, prompt, response, access_count, model_name, generation_params, eos_string)
        SELECT 'question ' || i || CASE WHEN i % 10 = 0 THEN '::EOS::stop' ELSE '' END, 'question ' || i, repeat('answer ' || i || ' ', 20), 1 + i % 7, 'steadytext-default',
               '{"max_tokens": 512, "seed": 42}', CASE WHEN i % 10 = 0 THEN 'stop' END FROM generate_series(1, $answers) i;
    INSERT INTO steadytext_cache (cache_key, prompt, embedding, model_name)
        SELECT encode(sha256(convert_to('embed:text ' || i, 'UTF8')), 'hex'), 'text ' || i, (SELECT array_agg(CASE WHEN j = 1 + i % 1024 THEN 1 ELSE 0 END ORDER BY j) FROM generate_series(1, 1024) j)::vector, 'steadytext-embedding'
        FROM generate_series(1, $embeddings) i;
    INSERT INTO steadytext_queue (request_type, prompt, params, status, result, completed_at, user_id)
        SELECT 'generate', 'job ' || i, '{"max_tokens": 5}', CASE WHEN i % 4 = 0 THEN 'completed' ELSE 'failed' END, CASE WHEN i % 4 = 0 THEN 'done ' || i END, now(), 'asker' FROM generate_series(1, $jobs) i;
    INSERT INTO steadytext_prompts (slug, description) SELECT 'prompt-' || i, 'number ' || i FROM generate_series(1, $prompts) i;
    INSERT INTO steadytext_prompt_versions (prompt_id, version, template, required_variables, is_active)
        SELECT id, v, 'Hello {{ name }} ' || v, '{name}', v = 2 FROM steadytext_prompts, generate_series(1, 2) v;
    UPDATE steadytext_config SET value = '"77"' WHERE key = 'default_max_tokens';
    INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('asker', 1000);
    INSERT INTO steadytext_audit_log (event_type, details) VALUES ('config_change', '{"key": "x"}');));
# Every row of the tables that both have, column by column.
my %columns = (
    steadytext_cache => 'cache_key, prompt, response, embedding::text, model_name, model_size, seed, eos_string, generation_params, created_at',
    steadytext_queue => 'id, request_id, request_type, prompt, prompts, params, priority, user_id, status, result, error, created_at, completed_at, max_retries',
    steadytext_prompts => 'id, slug, description, created_at, created_by', steadytext_prompt_versions => 'id, prompt_id, version, template, required_variables, is_active',
    steadytext_config => 'key, value',
    steadytext_rate_limits => 'user_id, requests_per_minute, requests_per_hour, requests_per_day', steadytext_audit_log => 'event_id, event_type, user_id, details, created_at');
sub rows { my ($table, $where, $database) = @_; return in($database // 'old', "SELECT count(*) || ' ' || md5(string_agg(r::text, E'\\n' ORDER BY r::text COLLATE \"C\")) FROM (SELECT $columns{$table} FROM $table WHERE " . ($where // 'true') . ') r') }
my %before = map { $_ => rows($_) } keys %columns;

# ---- a dump, which has the original's rows only as docs/migration.md says ----------------------------------------------------------
sub to_original {
    my ($step, $database) = @_;
    local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = (@{$cluster}{qw(PGHOST PGPORT PGUSER)}, $database // 'old');
    my $output = `$SteadyText::Cluster::ROOT/scripts/to-original $step 2>&1`;
    return ($? >> 8, $output);
}
sub run {
    my ($program, @arguments) = @_;
    my $output = '';
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT}, '-U', $cluster->{PGUSER}, @arguments ], '<', \undef, '>&', \$output);
    return ($good, $output);
}
my ($status, $output) = to_original('check');
isnt($status, 0, 'the original is nothing to leave');
like($output, qr/the original is installed here, in version 2025\.11\.25/, '  as is said') or diag $output;
($status, $output) = to_original('keep');
is($status, 0, 'its rows are copied to where pg_dump sees them') or diag $output;
my ($good, $said) = run('pg_dump', '-Fc', '-f', $cluster->run_dir . '/before.dump', 'old');
ok($good, 'pg_dump') or diag $said;
in(old => 'SET client_min_messages = warning; DROP SCHEMA steadytext_kept CASCADE');
$cluster->sql('CREATE DATABASE trial');
install(trial => '2025.11.25');  # the files of both versions are here, and a dump says no version
($good, $said) = run('pg_restore', '-e', '-d', 'trial', $cluster->run_dir . '/before.dump');
ok($good, 'pg_restore') or diag $said;
is(in(trial => 'SELECT count(*) FROM steadytext_cache'), 0, 'the dump has no row of the original\'s own tables');
($status, $output) = to_original('return', 'trial');
is($status, 0, 'the rows come back') or diag $output;
is(rows($_, undef, 'trial'), $before{$_}, "every row of $_ is in the copy") for sort keys %before;
is(in(trial => q(SELECT to_regnamespace('steadytext_kept') IS NULL)), 't', 'and none is left over');
is($cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'trial')->{state}, '', 'the trial of the update');
$cluster->sql('DROP DATABASE trial');

# ---- to this version ---------------------------------------------------------------------------------------------------------
my $began = time;
my $done = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'old');
my $took = time - $began;
is($done->{state}, '', 'the update goes through') or diag $done->{err};
cmp_ok($took, '<', 30, sprintf '%d cached answers, %d calls and %d prompts take %.1f s', $answers + $embeddings, $jobs, $prompts, $took);
like($done->{err}, qr/eviction is switched off in this database: steadytext_cache has more answers than it keeps.*It has 100000 answers in \d+ MB; 10000 answers and 100 MB are kept/s, 'it leaves answers that the eviction would take, and says so');
like($done->{err}, qr/HINT:  To keep more, SELECT steadytext_config_set\('cache_max_entries', '\.\.\.'\)/, 'with what works, whatever a row of steadytext_config says');
my %now = (steadytext_audit_log => q(event_type = 'config_change' AND details = '{"key": "x"}'));
is(rows($_, $now{$_}), $before{$_}, "every row of $_ is as it was") for grep { $_ ne 'steadytext_config' } sort keys %before;
is(in(old => q(SELECT count(*) FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE lanname = 'plpython3u')), 0, 'no function is in Python');
is($cluster->try_sql('DROP EXTENSION plpython3u', database => 'old')->{err}, '', 'and nothing needs it');
is(in(old => "SELECT count(*) FROM generate_series(1, $answers) i WHERE i % 10 <> 0 AND steadytext_generate('question ' || i, max_tokens => 512) = repeat('answer ' || i || ' ', 20)"), $answers - int($answers / 10), 'every old answer is served');
is(in(old => "SELECT count(*) FROM generate_series(10, $answers, 10) i WHERE steadytext_generate('question ' || i, max_tokens => 512, eos_string => 'stop') = repeat('answer ' || i || ' ', 20)"), int($answers / 10), 'those with a stop string too');
is(in(old => "SELECT count(*) FROM generate_series(1, $embeddings) i WHERE (steadytext_embed('text ' || i)::real[])[1 + i % 1024] = 1"), $embeddings, 'and every embedding');
is(in(old => q(SELECT count(*) FROM generate_series(1, 50) i WHERE steadytext_prompt_render('prompt-' || i, '{"name": "you"}') = 'Hello you 2')), 50, 'prompts are rendered');
in(old => q(SELECT steadytext_generate('a new question'); SELECT steadytext_prompt_update('prompt-1', 'Bye {{ name }}'); SELECT steadytext_config_set('default_max_tokens', '78'), steadytext_config_set('own_number', '7'), steadytext_config_set('own_text', 'so'); SELECT steadytext_budget_set('*', '1 day', 1000000);
    INSERT INTO steadytext_cache (id, cache_key, prompt, response) VALUES (4503599627370497, 'restored', 'a new question', 'x');  -- as a restore that has found its id taken
    CREATE VIEW mine AS SELECT steadytext_generate('question 1', max_tokens => 512) AS answer; CREATE TABLE docs (body text, e vector GENERATED ALWAYS AS (steadytext_embed(body)) STORED)));

# ---- and back --------------------------------------------------------------------------------------------------------------------
($status, $output) = to_original('leave');
is($status, 1, 'a view and a generated column stand in the way');
like($output, qr/^DROP VIEW (?:public\.)?mine;  -- afterwards, as role \w+: CREATE VIEW .*steadytext_generate/m, 'the view with the statement that restores it');
like($output, qr/^ALTER TABLE (?:public\.)?docs ALTER COLUMN e DROP EXPRESSION;  -- it was GENERATED ALWAYS AS/m, 'the column too');
in(old => $output =~ s/^to-original:.*$//mr);
($status, $output) = to_original('leave');
is($status, 0, 'then it leaves') or diag $output;
is(in(old => q(SELECT count(*) FROM pg_extension WHERE extname = 'pg_steadytext')), 0, 'the extension is gone');
like($output, qr/^GRANT SELECT ON public\.steadytext_cache TO asker;$/m, 'what was granted to roles is said') or diag $output;
my @grants = $output =~ /^(GRANT .*;)$/mg;
for my $step (qw(check leave return)) {
    my ($is, $text) = to_original($step);
    isnt($is, 0, "$step where the extension is not installed");
    like($text, qr/pg_steadytext is not installed in database "old"/, '  says so') or diag $text;
}
install(old => '2025.11.25');
($status, $output) = to_original('return');
is($status, 0, 'the rows come back') or diag $output;
unlike($output, qr/WARNING/, 'all of them');
is(in(old => q(SELECT string_agg(relname, ' ' ORDER BY 1) FROM pg_class WHERE relnamespace = 'steadytext_kept'::regnamespace AND relkind = 'r' AND relname NOT IN ('steadytext_incidents', 'steadytext_prompt_label_moves', 'steadytext_usage'))), 'steadytext_budgets', 'but what the original has no table for');
is(rows('steadytext_cache', q(prompt <> 'a new question')), $before{steadytext_cache}, 'cached answers are what they were, under the keys of the original');
is(in(old => q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'a new question')), 1, 'with what was added, if its id is too large for the original as well');
is(rows('steadytext_queue'), $before{steadytext_queue}, 'calls too');
is(rows('steadytext_rate_limits'), $before{steadytext_rate_limits}, 'and limits');
is(in(old => q(SELECT string_agg(version || template || is_active, ' ' ORDER BY version) FROM steadytext_prompt_versions v JOIN steadytext_prompts p ON p.id = prompt_id WHERE slug = 'prompt-1')),
    '1Hello {{ name }} 1false 2Hello {{ name }} 2false 3Bye {{ name }}true', 'and prompts, with what was added');
is(in(old => q(SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM steadytext_config)),
    'cache_enabled=true cache_eviction_enabled=false cache_max_entries=10000 cache_max_size_mb=100 daemon_auto_start=true daemon_host="localhost" daemon_port=5555 default_max_tokens=78 default_seed=42 own_number="7" own_text="so"',
    'settings that the original reads are the numbers and booleans that it installs, all else is text as it writes it');
in(old => join '', @grants);
is(in(old => q(SELECT has_table_privilege('asker', 'steadytext_cache', 'SELECT'))), 't', 'the printed grants can be run');
is(in(old => q(INSERT INTO steadytext_cache (cache_key, prompt, response) VALUES ('another', 'another', 'x') RETURNING id > (SELECT max(id) FROM steadytext_cache))), 't', 'sequences go on');
is(in(old => q(SELECT prosrc LIKE '%plpy%' FROM pg_proc WHERE proname = 'steadytext_generate')), 't', 'the functions are the original\'s');

SKIP: {
    skip 'the original cannot run here: no environment of its daemon, or no right to put its Python where it looks', 4 unless $has_python;
    is(in(old => q(SELECT steadytext_generate('question 7', 512, seed => NULL))), 'answer 7 ' x 20, 'its Python computes with its settings');
    is(in(old => q(SELECT steadytext_generate('question 7', 512))), 'answer 7 ' x 20, 'its Python runs, and serves its old answers');
    is(in(old => q(SELECT (steadytext_embed('text 5')::real[])[6])), 1, 'embeddings too');
    is(in(old => q(SELECT steadytext_prompt_render('prompt-1', '{"name": "you"}'))), 'Bye you', 'and renders its prompts');
}

# ---- cancelled calls, queued anew as docs/upgrading.md says, run as it stands there ----------------------------------------------
{
    $cluster->sql('CREATE DATABASE calls');
    install(calls => '2025.11.25');
    in(calls => q(SELECT steadytext_generate_async('a text', 5); SELECT steadytext_embed_batch_async(ARRAY['a text']); SELECT steadytext_embed_async('another text');
        INSERT INTO steadytext_queue (request_type, params) VALUES
            ('rerank', '{"query": "one", "documents": ["one", "two"], "task": "find", "return_scores": true, "seed": 42}'),
            ('batch_rerank', '{"query": "two", "documents": ["one", "two"], "task": "find", "return_scores": true, "seed": 42}')));
    is($cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'calls')->{state}, '', 'an update where everybody could write');
    is(in(calls => q(SELECT count(*) FROM steadytext_queue WHERE status = 'cancelled')), 5, '  cancels the calls');
    open my $page, '<', "$SteadyText::Cluster::ROOT/docs/upgrading.md" or die "docs/upgrading.md: $!";
    my ($recipe) = join('', <$page>) =~ /^```sql\n(CREATE TEMP TABLE cancelled .*?)^```$/ms;
    in(calls => $recipe =~ s/\bapp\b/asker/gr);
    is(in(calls => q(SELECT count(*) FROM steadytext_queue WHERE user_id = 'asker')), 5, '  they are queued anew, in the name of their role');
    ok($cluster->wait_for(sub { in(calls => q(SELECT count(*) FROM steadytext_queue WHERE user_id = 'asker' AND status = 'completed' AND coalesce(result, embedding::text) IS NOT NULL)) == 5 }, 60), '  and carried out')
        or diag in(calls => 'SELECT request_type, params, status, error FROM steadytext_queue');
}

# ---- older versions, through the original's own updates ------------------------------------------------------------------------
# From 2025.8.16 and before they do not run on PostgreSQL 13 and later: a function has a parameter named "normalize", which is a keyword there.
for my $version (qw(2025.8.17 2025.8.26 2025.9.6 2025.10.30)) {
    (my $database = "v$version") =~ tr/./_/;
    $cluster->sql("CREATE DATABASE $database");
    install($database => $version);
    my $event = $version eq '2025.10.30' ? 'event_type' : 'action';  # as the version made the table
    in($database => qq(ALTER EXTENSION pg_steadytext UPDATE TO '2025.11.25'; INSERT INTO steadytext_audit_log ($event, user_id) VALUES ('before', 'asker')));
    is($cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => $database)->{state}, '', "from $version");
    is(in($database => q(SELECT event_type || (event_id IS NOT NULL) FROM steadytext_audit_log WHERE user_id = 'asker')), 'beforetrue', '  its audit log has the names of today');
    is(in($database => q(SELECT steadytext_generate('hello', max_tokens => 3) IS NOT NULL)), 't', '  and it answers');
    ok($cluster->wait_for(sub { in($database => q(SELECT count(*) FROM steadytext_daemon_health WHERE uptime_seconds >= 0 AND status = 'healthy')) }), '  its table of daemons is kept');
}
done_testing;
