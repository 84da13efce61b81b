# No input ends or stalls a process: hundreds of texts, JSON, patterns, arrays and types that are deep, long, quadratic or large once
# compiled, for every argument of every function that takes one; and messages of that kind for steadytextd.
#
# Under statement_timeout = 1s each ends within 1.5 s, in as much as the machine lets it: a busy one is measured by a query of known cost,
# before each group, and gets that much more time. What is counted in steps, and so on no machine differs, is in t/unit/work_test.cpp.
use strict;
use warnings;
use SteadyText::Attack;
use SteadyText::Cluster;
use File::Temp qw(tempdir);
use IPC::Run ();
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new;
my $started = $cluster->sql('SELECT pg_postmaster_start_time()');

# How much slower than an idle machine this one is now, 1 at least.
my $idle_seconds = 0.06;
sub slowness {
    my $start = time;
    $cluster->sql(q(SELECT sum(length(md5(i::text))) FROM generate_series(1, 100000) i));
    return max(1, (time - $start) / $idle_seconds);
}

my ($session, $pid);
sub connect_again {
    $session = $cluster->session;
    $session->ask("\\set ON_ERROR_STOP 0\nSET statement_timeout = '1s'; SET steadytext.request_timeout = '20s'; SET client_min_messages = error;");
    $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask('\\o /dev/null');
    return;
}

# Runs the statement and undoes it: seconds, the SQLSTATE or '', and whether the session is still there.
sub attack {
    my ($sql) = @_;
    $session->{err} = '';
    my $start = time;
    $session->ask("BEGIN;\n$sql;\nROLLBACK;", 100);
    my $took  = time - $start;
    my $alive = $session->{run}->pumpable;
    my ($state) = $session->{err} =~ /^(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5})/m;
    connect_again() unless $alive;
    return ($took, $state // '', $alive);
}

my $attacks   = 0;
my $catalogue = qr/^every argument/;
# All of a group; one line for each that is not as it must be.
sub group {
    my ($title, @cases) = @_;
    my $slowness = slowness();
    my ($bad, $most) = (0, 0);
    for (@cases) {
        my ($name, $sql) = @$_;
        my ($took, $state, $alive) = attack($sql);
        ($took, $state, $alive) = attack($sql), $slowness = max($slowness, slowness()) if $alive && $took > 1.5 * $slowness;  # the machine's hiccup?
        $attacks++;
        $most = max($most, $took / $slowness);
        # Calls made up here are SQL, whatever is made of them then; those made up from the catalogue may name what is not there.
        next if $alive && $took <= 1.5 * $slowness && $state !~ /^XX/ && ($title =~ $catalogue || $state !~ /^42/);
        $bad++;
        diag(sprintf '%s: %s: %.1f s, %s%s', $title, $name, $took, $state, $alive ? '' : ', and the session is gone');
    }
    is($bad, 0, sprintf '%s: %d end in time, the longest in %.2f s on an idle machine like this', $title, scalar @cases, $most);
    return;
}

# ---- every argument that takes a text, JSON or an array ----------------------------------------------------------------------

my %texts = (
    'combining marks in no order'   => q(repeat(U&'\0301\0323\0300', 170000)),
    'one letter and many marks'     => q('a' || repeat(U&'\0345\0327', 200000)),
    'Hangul jamo'                   => q(repeat(U&'\1112\1161\11AB', 100000)),
    'brackets'                      => q(repeat('[', 200000)),
    'braces'                        => q(repeat('{"a":', 150000)),
    'parentheses'                   => q~repeat('(', 300000)~,
    'anchors'                       => q(repeat('^', 100000)),
    'words'                         => q((SELECT string_agg('w' || i, ' ') FROM generate_series(1, 100000) i)),
    'quotes and backslashes'        => q(repeat('\"', 250000)),
    'dots and slashes'              => q(repeat('../', 250000)),
    'commas'                        => q(repeat('tcp://a:1,', 90000)),
    'one line of digits'            => q(repeat('9', 1000000)),
);
$cluster->sql('CREATE TABLE victim (id int, word text); CREATE SCHEMA hostile; CREATE TABLE hostile.texts (name text PRIMARY KEY, text text)');
$cluster->sql("INSERT INTO hostile.texts VALUES ('$_', $texts{$_})") for sort keys %texts;
connect_again();
{
    my @targets = SteadyText::Attack::targets($cluster);
    cmp_ok(scalar @targets, '>', 100, scalar(@targets) . ' arguments take a text, JSON or an array');
    for my $name (sort keys %texts) {
        my $value = "(SELECT text FROM hostile.texts WHERE name = '$name')";
        group("every argument: $name", map { [ "$_->[0] $_->[1]", $_->[2] =~ s/\$1/$value/gr ] } @targets);
    }
}

# ---- JSON schemas ------------------------------------------------------------------------------------------------------------

sub schema { my ($name, $schema, $answer) = @_; return [ $name, sprintf 'SELECT steadytext_generate_json(%s, %s, use_cache => false)', $answer // q('{}'), $schema ] }
sub listed { my ($each, $count) = @_; return "(SELECT json_agg($each) FROM generate_series(1, $count) i)" }
sub members { my ($name, $value, $count) = @_; return "(SELECT json_object_agg($name, $value) FROM generate_series(1, $count) i)" }

group('schemas',
    schema('a name of 50,000 characters', q(jsonb_build_object('type', 'object', 'additionalProperties', true, 'properties', jsonb_build_object(repeat('x', 50000), '{}'::jsonb)))),
    schema('names with long beginnings in common', q~jsonb_build_object('additionalProperties', true, 'properties', ~ . members(q(repeat('y', 3000) || i), q('{}'::json), 20) . ')'),
    (map { schema("a chain of $_ references", q~jsonb_build_object('$ref', '#/$defs/1', '$defs', ~ . members('i::text', q(json_build_object('$ref', '#/$defs/' || i + 1)), $_) . ')') } 1500, 2200, 20000),
    schema('a ring of references', q~jsonb_build_object('$ref', '#/$defs/1', '$defs', ~ . members('i::text', q(json_build_object('$ref', '#/$defs/' || i % 1500 + 1)), 1500) . ')'),
    (map { schema("oneOf $_ constants", qq~jsonb_build_object('oneOf', ~ . listed(q(json_build_object('const', i)), $_) . ')') } 1000, 3000, 4000, 20000),
    schema('oneOf of constants with bounds', q~jsonb_build_object('type', 'integer', 'minimum', 5, 'oneOf', ~ . listed(q(json_build_object('const', i)), 3000) . ')'),
    schema('oneOf told apart by a member', q~jsonb_build_object('oneOf', ~ . listed(q(json_build_object('type', 'object', 'required', '["k"]'::json, 'properties', json_build_object('k', json_build_object('const', i)))), 700) . ')'),
    schema('oneOf not told apart', q~jsonb_build_object('oneOf', ~ . listed(q(json_build_object('type', 'object', 'required', '["k"]'::json, 'properties', json_build_object('k', json_build_object('type', 'string'), 'a' || i, true))), 500) . ')'),
    (map { schema("enum of $_", q~jsonb_build_object('type', 'integer', 'enum', ~ . listed('i', $_) . ')') } 4000, 9000, 60000),
    schema('enum of strings with a pattern', q~jsonb_build_object('pattern', '([a-z0-9]{0,200}){8}', 'type', 'string', 'enum', ~ . listed(q('v' || i), 5000) . ')'),
    schema('many properties', q~jsonb_build_object('additionalProperties', false, 'properties', ~ . members(q('p' || i), '1=1', 4000) . ')', q((SELECT json_object_agg('p' || i, i)::text FROM generate_series(1, 60000) i))),
    schema('many required', q~jsonb_build_object('required', ~ . listed(q('p' || i), 6000) . ')', q((SELECT json_object_agg('p' || i, i)::text FROM generate_series(1, 60000) i))),
    schema('the same name required again and again', q~jsonb_build_object('required', ~ . listed(q('same'::text), 8000) . ')'),
    schema('allOf of many', q~jsonb_build_object('allOf', ~ . listed(q(json_build_object('required', json_build_array('p' || i))), 1500) . ')'),
    schema('allOf of one property again and again', q~jsonb_build_object('allOf', ~ . listed(q(json_build_object('properties', json_build_object('x', json_build_object('title', i, 'type', 'string', 'minLength', i)))), 700) . ')'),
    schema('anyOf within anyOf beside members', q~jsonb_build_object('type', 'object', 'required', '["a","b","c"]'::jsonb, 'anyOf', ~ . listed(q(json_build_object('anyOf', json_build_array(json_build_object('required', json_build_array('p' || i)), json_build_object('required', json_build_array('q' || i))))), 500) . ')'),
    schema('a definition that branches into itself', q(jsonb_build_object('$ref', '#/$defs/a', '$defs', jsonb_build_object('a', jsonb_build_object('type', 'object', 'properties', jsonb_build_object(
        'l', '{"$ref": "#/$defs/a", "type": "object"}'::jsonb, 'r', '{"$ref": "#/$defs/a", "required": ["x"]}'::jsonb)))))),
    schema('references with a rest beside them', q~jsonb_build_object('properties', ~ . members(q('p' || i), q('{"$ref": "#/$defs/a", "type": "object"}'::json), 900) . q~, '$defs', jsonb_build_object('a', jsonb_build_object('properties', ~ . members(q('p' || i), '1=1', 1500) . ')))'),
    schema('types, again and again', q~jsonb_build_object('type', ~ . listed(q((ARRAY['string', 'integer', 'number'])[i % 3 + 1]), 5000) . ')'),
    (map { schema("nested $_ deep", qq~(repeat('{"items":', $_) || '{}' || repeat('}', $_))::jsonb~) } 90, 300, 6000),
    schema('nested arrays in a constant', q(jsonb_build_object('const', (repeat('[', 5000) || repeat(']', 5000))::jsonb))),
    schema('maxItems within maxItems', q('{"maxItems": 10000, "items": {"maxItems": 10000, "items": {"maxLength": 10000, "type": "string"}}}'::jsonb)),
    schema('minLength of a quadrillion', q('{"type": "string", "minLength": 1e15}'::jsonb)),
    schema('bounds of 300 digits', q((SELECT jsonb_build_object('anyOf', jsonb_agg(jsonb_build_object('type', 'integer', 'minimum', -1e300, 'maximum', 1e300 + i))) FROM generate_series(1, 300) i))),
    schema('a pattern of many states', q(jsonb_build_object('type', 'string', 'pattern', repeat('[^b]{0,250}', 38))), q('"' || repeat('a', 100000) || '"')),
    schema('many patterns', q~jsonb_build_object('anyOf', ~ . listed(q(json_build_object('type', 'string', 'pattern', '(.{255}){' || i % 200 || '}')), 900) . ')'),
    (map { schema("a dear pattern beside $_->[0]", qq(jsonb_build_object('type', 'string', 'pattern', repeat('[^b]{0,250}', 38), $_->[1])), q('"' || repeat('a', 4000) || '"')) }
        [ 'a length', q('maxLength', 4000) ], [ 'a least length', q('minLength', 1000000) ], [ 'a format', q('format', 'uri') ]),
    schema('many patterns beside lengths', q~jsonb_build_object('anyOf', ~ . listed(q(json_build_object('type', 'string', 'pattern', 'x\d+' || i, 'maxLength', 4000)), 900) . ')'),
    schema('a pattern of many classes beside a format', q~jsonb_build_object('type', 'string', 'format', 'email', 'pattern', ~ . q((SELECT string_agg('[^' || chr(100 + i) || ']', '') FROM generate_series(1, 500) i)) . ')'),
    schema('a pointer of escapes', q(jsonb_build_object('$ref', '#/' || repeat('~1', 30000)))),
    schema('an answer that is deep', q('{}'::jsonb), q(repeat('[', 200000) || repeat(']', 200000))),
    schema('an answer that is a deep object', q('{"enum": [{}]}'::jsonb), q(repeat('{"a":', 100000) || 1 || repeat('}', 100000))),
    schema('an answer with many members', q('{"additionalProperties": {"enum": [1, 2, 3]}}'::jsonb), q((SELECT json_object_agg(repeat('k', 5) || i, 1)::text FROM generate_series(1, 60000) i))),
    schema('an answer with many items', q~jsonb_build_object('items', jsonb_build_object('enum', ~ . listed('i', 9000) . '))', q((SELECT json_agg(i)::text FROM generate_series(1, 120000) i))),
    schema('an answer of alternatives', q~jsonb_build_object('items', jsonb_build_object('oneOf', ~ . listed(q(json_build_object('const', i)), 3000) . '))', q((SELECT json_agg(i)::text FROM generate_series(1, 100000) i))),
    schema('an answer with patterns', q('{"items": {"type": "string", "pattern": "(a?){200}a{200}"}}'::jsonb), q((SELECT json_agg(repeat('a', 200 + i % 200))::text FROM generate_series(1, 2000) i))),
);

# Answers that are large beside schemas that look at each value many times: what a look costs is charged, whatever stands in the value.
my $numbers = q(('[' || repeat('1,', 400000) || '1]'));
sub texts { my ($name, $schema, $answer) = @_; return [ $name, "SELECT steadytext_generate_json($answer, ($schema)::text, 4000, use_cache => false)" ] }
group('answers',
    texts('alternatives of one value each, beside a reference to all', q('{"anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"object"}' || repeat(',{"enum":[0]}', 1900) || ']}'),
        qq(repeat('[', 190) || '{"a":' || $numbers || '}' || repeat(']', 190))),
    texts('the same of arrays', q('{"anyOf":[{"type":"object"}' || repeat(',{"enum":[[0]]}', 1900) || ',{"type":"array","items":{"$ref":"#"}}]}'),
        qq(repeat('[', 190) || '{"a":' || $numbers || '}' || repeat(']', 190))),
    texts('lists that an array may be in', q('{"anyOf":[{"type":"string"}' || repeat(',{"enum":[[0]]}', 2000) || ']}'), $numbers),
    texts('constants that an array may be', q('{"anyOf":[{"type":"string"}' || repeat(',{"const":[1,1,1,1,1]}', 2000) || ']}'), $numbers),
    texts('types named again and again', q('{"type":"array","items":{"type":["integer"' || repeat(',"null"', 6000) || ']}}'), $numbers),
    texts('bounds and a number of 900,000 digits', q('{"anyOf":[' || repeat('{"minimum":1,"maximum":2},', 2000) || '{"type":"string"}]}'), q(repeat('9', 900000))),
    texts('lengths and a string of 900,000 characters', q('{"items":{"anyOf":[' || repeat('{"maxLength":3},', 3000) || '{"type":"null"}]}}'), q('["' || repeat('a', 900000) || '"]')),
    texts('names of 300,000 characters', q('{"additionalProperties":{"$ref":"#"},"anyOf":[' || repeat('{"required":["x"]},', 2000) || '{"type":"object"},{"type":"integer"}]}'),
        q('{"' || repeat('a', 300000) || '":{"' || repeat('b', 300000) || '":1}}')),
    texts('numbers with fractions', q('{"items":{"anyOf":[' || repeat('{"const":1.5},', 2000) || '{"type":"number"}]}}'), q('[' || repeat('1.25,', 180000) || '1]')),
);

# ---- patterns ----------------------------------------------------------------------------------------------------------------

sub pattern { my ($name, $pattern, $answer) = @_; return [ $name, sprintf 'SELECT steadytext_generate_regex(%s, %s, use_cache => false)', $answer // q('aaaa'), $pattern ] }
group('patterns',
    (map { pattern("$_ anchors", qq(repeat('^', $_))) } 1000, 4096, 100000),
    (map { pattern("$_ groups within each other", qq(repeat('(', $_) || 'a' || repeat(')', $_))) } 90, 2000, 100000),
    (map { pattern("$_ repetitions of 255 within each other", qq(repeat('(', $_) || 'a' || repeat('){255}', $_))) } 2, 3, 4, 90),
    pattern('empty groups, repeated within each other', q(repeat('(', 90) || repeat('){255}', 90))),
    pattern('stars within stars', q(repeat('(', 95) || 'a' || repeat(')*', 95)), q(repeat('a', 100000))),
    pattern('optional parts, then as many', q(repeat('a?', 1000) || repeat('a', 1000)), q(repeat('a', 1000))),
    pattern('the engine of all', q(repeat(U&'[^\012C-\0BB8]{0,250}', 38)), q(repeat('a', 9000))),
    pattern('repetitions of sets beyond ASCII', q(repeat(U&'[\0100-\FFFD]{0,255}', 255)), q(repeat(U&'\4e00', 60000))),
    pattern('alternatives with beginnings in common', q((SELECT string_agg(repeat('a', i), '|') FROM generate_series(1, 88) i)), q(repeat('a', 88))),
    pattern('two thousand alternatives', q((SELECT string_agg('', '|') FROM generate_series(1, 4000)))),
    pattern('a class of two thousand members', q('[' || (SELECT string_agg(chr(2 * i + 1000), '') FROM generate_series(1, 1300) i) || ']{0,255}')),
    pattern('a class of ranges, negated', q('[^' || (SELECT string_agg(chr(4 * i + 1000) || '-' || chr(4 * i + 1002), '') FROM generate_series(1, 500) i) || ']{255}')),
    pattern('named classes without an end', q(repeat('[[:', 1300))),
    pattern('brackets that do not close', q(repeat('[', 4000))),
    pattern('any text, twice', q('.*.*.*.*.*.*.*.*b'), q(repeat('a', 500000))),
    pattern('any of many, any number of times', q('(' || (SELECT string_agg('a{' || i || '}', '|') FROM generate_series(1, 150) i) || ')*'), q(repeat('a', 100000))),
    pattern('a long answer', q('[a-z]*'), q(repeat('a', 1000000))),
    pattern('too long', q(repeat('a', 5000))),
    pattern('surrogates and zeros', q(repeat('\uD800', 600))),
    pattern('backslashes', q(repeat('\\\\', 2000))),
);

# ---- choices, documents, batches, types ----------------------------------------------------------------------------------------

group('arrays',
    [ 'a thousand choices', q(SELECT steadytext_generate_choice('x', ARRAY(SELECT repeat('c', 3000) || i FROM generate_series(1, 1000) i), use_cache => false)) ],
    [ 'a million choices', q(SELECT steadytext_generate_choice('x', ARRAY(SELECT i::text FROM generate_series(1, 1000000) i))) ],
    [ 'choices of a megabyte', q(SELECT steadytext_generate_choice('x', ARRAY(SELECT repeat('c', 1000000) || i FROM generate_series(1, 50) i))) ],
    [ 'ranking by a query of many words', q(SET LOCAL steadytext.request_timeout = '1ms'; SELECT count(*) FROM steadytext_rerank((SELECT text FROM hostile.texts WHERE name = 'words'), ARRAY(SELECT repeat('document ', 10000) || i FROM generate_series(1, 20) i))) ],
    [ 'ranking of many documents', q(SELECT count(*) FROM steadytext_rerank('q', ARRAY(SELECT repeat('d', 100) || i FROM generate_series(1, 10000) i))) ],
    [ 'ranking of equal documents', q(SELECT count(*) FROM steadytext_rerank('q', ARRAY(SELECT 'same' FROM generate_series(1, 10000) i))) ],
    [ 'a batch of a hundred thousand', q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'b' || i FROM generate_series(1, 100000) i))) ],
    [ 'a batch of equal ones', q(SELECT count(*) FROM steadytext_embed_batch(ARRAY(SELECT 'same' FROM generate_series(1, 300000) i))) ],
    [ 'texts that are not normal, many', q(SELECT count(*) FROM steadytext_embed_batch(ARRAY(SELECT repeat(U&'\0301\0323', 50000) || i FROM generate_series(1, 100) i))) ],
);

$cluster->sql(<<'SQL');
DO $$
BEGIN
    CREATE TYPE hostile.t0 AS (a int);
    FOR i IN 1 .. 5 LOOP
        EXECUTE format('CREATE TYPE hostile.t%s AS (%s)', i, (SELECT string_agg(format('c%s hostile.t%s', c, i - 1), ', ') FROM generate_series(1, 10) c));
    END LOOP;
    FOR i IN 1 .. 40 LOOP
        EXECUTE format('CREATE TYPE hostile.d%s AS (inner_%s %s)', i, i, CASE i WHEN 1 THEN 'int' ELSE format('hostile.d%s[]', i - 1) END);
    END LOOP;
END $$;
SQL
group('types',
    (map { [ "types of types, $_", "SELECT steadytext_extract('x', NULL::hostile.t$_)" ] } 1 .. 5),
    (map { [ "arrays of types of arrays, $_", "SELECT steadytext_extract('x', NULL::hostile.d$_)" ] } 5, 10, 40),
);

# ---- asynchronous calls of such forms ------------------------------------------------------------------------------------------

group('asynchronous calls',
    [ 'a chain of references', q~SELECT steadytext_generate_json_async('x', jsonb_build_object('$ref', '#/$defs/1', '$defs', ~ . members('i::text', q(json_build_object('$ref', '#/$defs/' || i + 1)), 20000) . '))' ],
    [ 'anchors', q(SELECT steadytext_generate_regex_async('x', repeat('^', 100000))) ],
    [ 'deep parameters', q(SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', (repeat('[', 5000) || repeat(']', 5000))::jsonb))) ],
);

# The worker that carries them out has as many roles to serve: another role's call does not wait for the answer of one.
{
    $cluster->sql('CREATE ROLE eve LOGIN; CREATE ROLE bob LOGIN');
    $cluster->sql("SELECT count(steadytext_generate_json_async(i || '' || repeat('[', 190) || $numbers || repeat(']', 190),
        '{\"anyOf\":[{\"type\":\"object\"}' || repeat(',{\"enum\":[[0]]}', 1900) || ',{\"type\":\"array\",\"items\":{\"\$ref\":\"#\"}}]}', 4000)) FROM generate_series(1, 5) i" =~ s/i \|\| '' \|\| //r, user => 'eve');
    my $slowness = slowness();
    my $start = time;
    my $job = $cluster->sql(q(SELECT steadytext_generate_async('hello')), user => 'bob');
    is($cluster->sql("SELECT steadytext_get_async_result('$job', 60)", user => 'bob'), 'hello', 'a call of another role is carried out');
    cmp_ok(time - $start, '<', 10 * max($slowness, slowness()), 'beside answers that are dear to check');
}

# ---- what it came to -----------------------------------------------------------------------------------------------------------

cmp_ok($attacks, '>=', 200, "$attacks hostile inputs");
is($cluster->sql('SELECT pg_postmaster_start_time()'), $started, 'the server is the one that was started');
unlike($cluster->log, qr/was terminated by signal|terminating any other active server processes|PANIC|temporary file leak/, 'and nothing in it crashed');

# Results that do not fit into work_mem, in a select list and elsewhere, are put away without a word.
for my $select ('SELECT steadytext_embed_batch(a)', 'SELECT (steadytext_embed_batch(a)).cached', 'SELECT b FROM steadytext_embed_batch(a) b', 'SELECT steadytext_embed_batch(a) LIMIT 3') {
    my $sql = $select =~ s/\ba\b(?=\))/ARRAY(SELECT 'leak ' || i FROM generate_series(1, 300) i)/r;
    my $result = $cluster->try_sql("SET work_mem = '64kB'; $sql");
    unlike($result->{err}, qr/WARNING|ERROR/, "no file is left behind: $select");
}

# ---- steadytextd, through its socket -------------------------------------------------------------------------------------------

SKIP: {
    skip 'build/steadytextd is not there', 1 unless -x "$SteadyText::Cluster::ROOT/build/steadytextd";
    chomp(my $models = `$SteadyText::Cluster::ROOT/scripts/models --print-dir`);
    my ($folder, $in, $log) = (tempdir(CLEANUP => 1), '', '');
    my $endpoint = "ipc://$folder/daemon";
    my $daemon = IPC::Run::start([ "$SteadyText::Cluster::ROOT/build/steadytextd", '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--slots', 8,
        '--model', "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf" ], '<', \$in, '>&', \$log, IPC::Run::timeout(300));
    $daemon->pump until $log =~ /steadytextd: ready/;

    my $reply_to = sub {
        my ($message) = @_;
        my ($script, $reply, $start) = ("$message\n<\n", '', time);
        IPC::Run::run([ "$SteadyText::Cluster::ROOT/build/wire-client", $endpoint, 60000 ], '<', \$script, '>', \$reply);
        return ($reply, time - $start);
    };
    my $generate = sub { return sprintf '{"id": "a", "method": "generate", "params": {"prompt": "x", "max_new_tokens": 1, %s}}', $_[0] };
    my @values   = ('null', 'true', '-1', '1e400', '123456789012345678901234567890', '1.5', '"text"', '[]', '{}', '[[]]', '"' . 'x' x 300000 . '"', '[' x 1000 . ']' x 1000, '[' x 100000);
    my @messages = (
        (map { [ "an id of $_ brackets", '{"id": ' . '[' x $_ . ']' x $_ . ', "method": "ping"}' ] } 100, 5000, 200000),
        (map { [ "$_ brackets", '[' x $_ ] } 1, 1000, 200000, 4000000),
        (map { [ "$_ objects", '{"a":' x $_ ] } 1000, 200000),
        [ 'a long id', '{"id": "' . 'i' x 5000000 . '", "method": "ping"}' ],
        [ 'an object of many members', '{' . join(',', map { "\"k$_\":1" } 1 .. 400000) . '}' ],
        [ 'parameters of many members', '{"id": "a", "method": "ping", "params": {' . join(',', map { "\"k$_\":1" } 1 .. 300000) . '}}' ],
        [ 'members of one long name', '{' . join(',', map { '"' . 'k' x 5000 . "$_\":1" } 10000 .. 11500) . '}' ],
        [ 'the same member again and again', '{' . join(',', map { '"id":1' } 1 .. 500000) . '}' ],
        [ 'invalid UTF-8', qq({"id": "\xff\xfe\x80", "method": "generate", "params": {"prompt": "\xc3\x28"}}) ],
        [ 'NUL in texts', '{"id": "a", "method": "generate", "params": {"prompt": "\u0000\u0000", "max_new_tokens": 1}}' ],
        [ 'an unknown method with a long name', '{"id": "a", "method": "' . 'm' x 3000000 . '"}' ],
        [ 'millions of texts', '{"id": "a", "method": "embed_batch", "params": {"texts": [' . join(',', ('"a"') x 1000000) . ']}}' ],
        [ 'millions of documents', '{"id": "a", "method": "rerank", "params": {"query": "q", "documents": [' . join(',', ('"a"') x 1000000) . ']}}' ],
        [ 'millions of choices', $generate->('"choices": [' . join(',', map { "\"$_\"" } 1 .. 500000) . ']') ],
        [ 'a choice of a megabyte', $generate->('"choices": ["' . 'c' x 1000000 . '"]') ],
        [ 'a long schema', $generate->('"schema": {"enum": [' . join(',', 1 .. 300000) . ']}') ],
        [ 'a deep schema', $generate->('"schema": ' . '{"items":' x 5000 . '{}' . '}' x 5000) ],
        [ 'a name of 50,000 characters', $generate->('"schema": {"type": "object", "additionalProperties": true, "properties": {"' . 'x' x 50000 . '": {}}}') ],
        [ 'a chain of 2,000 references', $generate->('"schema": {"$ref": "#/$defs/1", "$defs": {' . join(',', map { "\"$_\":{\"\$ref\":\"#/\$defs/" . ($_ + 1) . '"}' } 1 .. 2000) . ', "2001": {"type": "integer"}}}') ],
        [ 'a long regex', $generate->('"regex": "' . '^' x 100000 . '"') ],
        [ 'repetitions within each other', $generate->('"regex": "((((a{255}){255}){255}){255})"') ],
        [ 'a shortest answer without end', $generate->('"regex": "(a{255}){255}"') ],
        [ 'an eos_string of a megabyte', $generate->('"eos_string": "' . 'e' x 1000000 . '"') ],
        [ 'a prompt of many megabytes', '{"id": "a", "method": "generate", "params": {"max_new_tokens": 1, "prompt": "' . 'x' x 3000000 . '"}}' ],
        [ 'a prompt of digits', '{"id": "a", "method": "generate", "params": {"max_new_tokens": 1, "prompt": "' . '9' x 1000000 . '"}}' ],
        [ 'a prompt of spaces', '{"id": "a", "method": "generate", "params": {"max_new_tokens": 1, "prompt": "a' . ' ' x 1000000 . 'b"}}' ],
    );
    for my $name (qw(id method params)) {
        my %message = (id => '"a"', method => '"generate"', params => '{"prompt": "x", "max_new_tokens": 1}');
        push @messages, map { my %with = (%message, $name => $_); [ "$name: " . substr($_, 0, 20), '{' . join(', ', map { "\"$_\": $with{$_}" } sort keys %with) . '}' ] } @values;
    }
    for my $name (qw(seed temperature max_new_tokens timeout_ms eos_string schema regex choices response_format return_usage)) {
        push @messages, map { [ "$name: " . substr($_, 0, 20), $generate->("\"$name\": $_") ] } @values;
    }
    my $slowness = slowness();
    my ($bad, $most) = (0, 0);
    for (@messages) {
        my ($name, $message) = @$_;
        my ($reply, $took) = $reply_to->($message);
        ($reply, $took) = $reply_to->($message), $slowness = max($slowness, slowness()) if $took > 1.5 * $slowness;
        $most = max($most, $took / $slowness);
        next if $took <= 1.5 * $slowness && $daemon->pumpable;
        $bad++;
        diag(sprintf 'steadytextd: %s: %.1f s: %s', $name, $took, substr($reply, 0, 200));
        last unless $daemon->pumpable;
    }
    is($bad, 0, sprintf '%d messages to steadytextd, the longest answered in %.2f s', scalar @messages, $most);
    like(($reply_to->('{"id": "b", "method": "ping"}'))[0], qr/pong/, 'it is there, the same process');
    is(scalar(() = $log =~ /^steadytextd: ready$/mg), 1, 'that was started once');

    # The engine of all: forms that take much work hold up nobody.
    my $answer_of = sub { return ($reply_to->('{"id": "c", "method": "generate", "params": {"prompt": "Say a few words.", "max_new_tokens": 4}}')) };
    my (undef, $alone) = $answer_of->();
    my $hostile = sprintf '{"id": "h%%d", "method": "generate", "params": {"prompt": "x", "max_new_tokens": 200, "regex": "%s"}}', '[^\u012c-\u0bb8]{0,250}' x 38;
    my @clients = map {
        my %client = (in => sprintf($hostile, $_) . "\n<\n", out => '');
        $client{run} = IPC::Run::start([ "$SteadyText::Cluster::ROOT/build/wire-client", $endpoint, 300000 ], '<', \$client{in}, '>', \$client{out});
        $client{run}->pump while length $client{in};
        \%client;
    } 1 .. 4;
    $cluster->wait_for(sub { ($reply_to->('{"id": "i", "method": "info"}'))[0] =~ /"slots_in_use":[4-9]/ }, 30);
    my ($text, $beside) = $answer_of->();
    like($text, qr/"result": "/, 'another call is answered beside four of them');
    $slowness = max($slowness, slowness());
    for my $client (@clients) {
        $client->{run}->finish;
        note(substr $client->{out}, 0, 200);
    }
    $alone = max($alone, ($answer_of->())[1]);  # before and after: the machine may be busy with other things
    note(sprintf 'its 4 tokens take %.2f s beside four such calls, %.2f s alone: %.1f times', $beside, $alone, $beside / $alone);
    cmp_ok($beside, '<=', max(1.5 * $slowness, 4 * $alone), 'within four times as long as alone, or a second and a half of an idle machine like this');
    is((scalar grep { $_->{out} =~ /"result": "|Too much work/ } @clients), 4, 'each of them ends by itself: with an answer, or by what it may cost');
    $daemon->finish if eval { $daemon->kill_kill; 1 };
}

done_testing;
