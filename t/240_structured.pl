# Structured output with a real model: whatever the schema, the regex and the number of tokens, the answer has the form.
#
# Schemas and regexes are made at random over all that is supported (t/tools/constraint_cases.py). What came is checked by those
# who had no part in it: Python's jsonschema, and PostgreSQL's own ~ operator. STEADYTEXT_STRUCTURED_CASES=200 is the long run.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use IPC::Run ();
use JSON::PP ();

my $cases    = $ENV{STEADYTEXT_STRUCTURED_CASES} // 10;
my $seed     = $ENV{STEADYTEXT_STRUCTURED_SEED}  // 1;
my $sessions = 8;
my $json     = JSON::PP->new->canonical;
my $cluster  = SteadyText::Cluster->new(daemon => 'native',
    conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '2h'", 'steadytext.embedded_slots = 8' ]);
ok($cluster->poll_until('SELECT status FROM steadytext_daemon_status()', 'healthy', 120), 'the daemon is there');

sub tool {
    my ($input, @arguments) = @_;
    my ($out, $err) = ('', '');
    IPC::Run::run([ 'python3', "$SteadyText::Cluster::ROOT/t/tools/constraint_cases.py", @arguments ], '<', \$input, '>', \$out, '2>', \$err);
    return ($out, $err, $?);
}

# The tool's lines as rows of a table.
sub load {
    my ($table, $column, $type, @arguments) = @_;
    my ($lines) = tool('', @arguments);
    my $array = '[' . join(',', split /\n/, $lines) . ']';
    $cluster->sql("CREATE TABLE $table AS SELECT ordinality AS id, c->>'prompt' AS prompt, (c->>'$column')::$type AS $column"
            . " FROM json_array_elements(\$cases\$$array\$cases\$) WITH ORDINALITY AS t(c, ordinality)");
    return;
}

# Runs an INSERT for a share of the rows in each of several sessions at once.
sub in_sessions {
    my ($sql) = @_;
    my @running = map { $cluster->session->send($sql =~ s/:share/% $sessions = $_/r) } 0 .. $sessions - 1;
    my @errors = grep { $_ } map { my $result = $_->finish; $result->{state} && $result->{err} } @running;
    is(join('', @errors), '', 'no session failed');
    return;
}

# What does not fit into so few tokens is told beforehand, and nothing else may fail.
$cluster->sql(<<'SQL');
CREATE FUNCTION try_json(prompt text, schema jsonb, max_tokens int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN steadytext_generate_json(prompt, schema, max_tokens, use_cache => false);
EXCEPTION WHEN program_limit_exceeded THEN RETURN 'none fits';
END $$;
CREATE FUNCTION try_regex(prompt text, pattern text, max_tokens int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN steadytext_generate_regex(prompt, pattern, max_tokens, use_cache => false);
EXCEPTION WHEN program_limit_exceeded THEN RETURN 'none fits';
END $$;
SQL

# ---- JSON --------------------------------------------------------------------------------------------------------------

load('schemas', 'schema', 'jsonb', 'schemas', $cases, $seed);
$cluster->sql('CREATE TABLE documents (id int, max_tokens int, document text)');
in_sessions('INSERT INTO documents SELECT id, n, try_json(prompt, schema, n) FROM schemas, unnest(ARRAY[16, 64, 512]) n WHERE id :share');
my ($asked, $refused) = split /\|/, $cluster->sql(q(SELECT count(*), count(*) FILTER (WHERE document = 'none fits') FROM documents));
is($asked, 3 * $cases, "$asked documents asked for");
is($cluster->sql(q(SELECT count(*) FROM documents WHERE document = 'none fits' AND max_tokens = 512)), 0, 'all of them fit into 512 tokens');
diag("of $asked documents, $refused did not fit into max_tokens and were refused before generating");
my $documents = $cluster->sql(q(SELECT json_build_object('schema', schema, 'document', document)::text FROM documents JOIN schemas USING (id)
    WHERE document <> 'none fits'));
my ($invalid, $trouble, $status) = tool($documents, 'check');
ok($status == 0 && $invalid eq '', 'every document parses and validates') or diag(substr("$invalid$trouble", 0, 4000));
is($cluster->sql(q(SELECT count(document::jsonb) FROM documents WHERE document <> 'none fits')), $asked - $refused, 'PostgreSQL reads them too');

# ---- regexes -----------------------------------------------------------------------------------------------------------

load('regexes', 'regex', 'text', 'regexes', $cases, $seed);
$cluster->sql('CREATE TABLE texts (id int, max_tokens int, text text)');
in_sessions('INSERT INTO texts SELECT id, n, try_regex(prompt, regex, n) FROM regexes, unnest(ARRAY[16, 64]) n WHERE id :share');
is($cluster->sql('SELECT count(*) FROM texts'), 2 * $cases, 2 * $cases . ' texts asked for');
is($cluster->sql(q(SELECT string_agg(format('%s: %s', regex, text), E'\n') FROM texts JOIN regexes USING (id)
    WHERE text <> 'none fits' AND text !~ ('^(?:' || regex || ')$'))), '', 'each is a full match by PostgreSQL\'s own ~');
diag('of ' . 2 * $cases . ' texts, ' . $cluster->sql(q(SELECT count(*) FROM texts WHERE text = 'none fits')) . ' did not fit');

# ---- choices and rows --------------------------------------------------------------------------------------------------

is($cluster->sql(q(SELECT steadytext_generate_choice('Is the sky blue? Answer with yes or no.', ARRAY['say "no"\\', 'yes']) IN ('say "no"\\', 'yes'))),
    't', 'a choice is one of them, quotes and backslash and all');
is($cluster->try_sql(q(SELECT steadytext_generate_choice('Which?', ARRAY['a very long choice that takes many tokens', 'another very long one of those'],
    max_tokens => 2)))->{state}, '54000', 'choices that do not fit are refused');
$cluster->sql(q(CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN age AS int NOT NULL;
    CREATE TYPE person AS (name text, age age, mood mood, born date)));
like($cluster->sql(q(SELECT to_jsonb(steadytext_extract('Anna is 33 years old and always happy. She was born on 1990-02-03.', NULL::person)))),
    qr/^\{"age": \d+, "born": (?:null|"\d{4}-\d\d-\d\d"), "mood": (?:null|"sad"|"happy"), "name": (?:null|".*")\}$/, 'a typed row of what a text says');

# ---- cached, and the same for all ---------------------------------------------------------------------------------------

my $question = q(SELECT steadytext_generate_json('A city', '{"type": "object", "properties": {"city": {"type": "string"}, "big": {"type": "boolean"}}, "required": ["city", "big"]}', max_tokens => 40));
my $swapped = $question =~ s/"city": \{"type": "string"\}, "big": \{"type": "boolean"\}/"big": {"type": "boolean"}, "city": {"type": "string"}/r;
my $first = $cluster->sql($question);
like($first, qr/^\{"city"/, 'members come in the order of the schema');
is($cluster->sql($_ =~ s/\]\}'/]}'::jsonb/r), $first, 'jsonb has no order: that of required is the answer\'s') for $question, $swapped;
is($cluster->sql($question =~ s/\]\}'/]}'::json/r), $first, 'json and text are one schema');
$cluster->sql('SELECT steadytext_frecency_refresh()');
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE operation = 'generate_json' AND prompt = 'A city')), 1, 'and one answer in the cache');
like($cluster->sql($swapped), qr/^\{"big"/, 'written in another order it is another schema, answered in that order');
my @others = map { $cluster->session->send("SELECT steadytext_generate('Tell story $_.', max_tokens => 60, use_cache => false)") } 1 .. 6;
is($cluster->sql($question =~ s/max_tokens/use_cache => false, max_tokens/r), $first, 'computed again beside others it is the same');
$_->finish for @others;

# Rows of the original under its own keys: hex md5 of kind, prompt, form and seed.
my $hit = sub { return $cluster->sql("INSERT INTO steadytext_cache (cache_key, prompt, response, seed) VALUES (md5(\$\$$_[0]\$\$), 'old', '$_[1]', 42); $_[2]"); };
is($hit->(q(json:old:{"a": 1, "type": "number"}:42), 12345, q(SELECT steadytext_generate_json('old', '{"type":"number","a":1}'))), 12345, 'JSON of the original');
is($hit->(q(regex:old:[a-z]+:42), 'kept', q(SELECT steadytext_generate_regex('old', '[a-z]+'))), 'kept', 'a match of the original');
is($hit->(q(choice:old:a|b|c:42), 'b', q(SELECT steadytext_generate_choice('old', '{c,b,a}'))), 'b', 'a choice of the original');
isnt($hit->(q(regex:old:[0-9]:42), 'text', q(SELECT steadytext_generate_regex('old', '[0-9]'))), 'text', 'but none that has not the form');

done_testing;
