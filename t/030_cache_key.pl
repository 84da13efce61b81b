# steadytext_cache_key() is what Python computes: json.dumps(json.loads(params), sort_keys=True), SHA-256, over many random cases.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $cases   = 120_000;
my $cluster = SteadyText::Cluster->new;

is($cluster->sql(q(SELECT steadytext_cache_key('hello'))), $cluster->sql(q(SELECT encode(sha256('hello|{}'), 'hex'))), 'no parameters');
is($cluster->sql(q(SELECT steadytext_cache_key('hello', '{"b": 1, "a": [1.0, 1e16, "é"]}', 'p:'))),
    $cluster->sql(q(SELECT encode(sha256(convert_to('p:hello|{"a": [1.0, 10000000000000000, "\\u00e9"], "b": 1}', 'UTF8')), 'hex'))),
    'sorted keys, escapes, numbers as jsonb keeps them');
is($cluster->sql(q(SELECT steadytext_cache_key(NULL) IS NULL)), 't', 'no prompt, no key');
is($cluster->sql(q(SELECT steadytext_cache_key('x', NULL) = steadytext_cache_key('x', '{}'))), 't', 'no parameters are {}');
is($cluster->sql(qq(SELECT steadytext_cache_key(U&'e\\0301') = steadytext_cache_key(U&'\\00e9'))), 't', 'the prompt is taken in NFC');
is($cluster->sql(qq(SET steadytext.normalize_prompts = off; SELECT steadytext_cache_key(U&'e\\0301') = steadytext_cache_key(U&'\\00e9'))),
    'f', 'unless normalize_prompts is off');
is($cluster->sql(q(SELECT st_cache_key('x', '{"a": 1}', 'p') = steadytext_cache_key('x', '{"a": 1}', 'p'))), 't', 'by its short name too');
is($cluster->try_sql(q(SELECT steadytext_cache_key('x', (repeat('[', 2000) || repeat(']', 2000))::jsonb)))->{state}, '54000', 'too deep: an error');

# What jsonb never shows: duplicate keys, any white space, exponents, texts that are no JSON.
my $verdict = '';
IPC::Run::run([ 'python3', 't/tools/json_cases.py', 'texts', $cases, 30, 'build/canonical-json' ], '>', \$verdict) or die 'no verdict';
like($verdict, qr/^$cases texts compared, [1-9][0-9]+ of them no JSON, 0 differ$/, "$cases random texts agree with Python");

my ($lines, $exported) = ('', '');
IPC::Run::run([ 'python3', 't/tools/json_cases.py', 'make', $cases, 20 ], '>', \$lines) or die 'no cases';
$cluster->sql(q(CREATE TABLE cases (number int, prompt text, params jsonb, prefix text)));
IPC::Run::run([ $cluster->psql_command, '-c', '\copy cases FROM STDIN' ], '<', \$lines) or die 'no copy';
# In hexadecimal, as psql leaves out characters it deems invalid.
IPC::Run::run([ $cluster->psql_command, '-c', q(SELECT encode(convert_to(json_build_object('number', number, 'prompt', normalize(prompt),
    'params', params::text, 'prefix', prefix, 'key', steadytext_cache_key(prompt, params, prefix))::text, 'UTF8'), 'hex') FROM cases) ],
    '>', \$exported) or die 'no keys';
IPC::Run::run([ 'python3', 't/tools/json_cases.py', 'keys' ], '<', \$exported, '>', \$verdict) or die 'no verdict';
is($verdict, "$cases keys compared, 0 differ\n", "$cases random cases agree with Python");
done_testing;
