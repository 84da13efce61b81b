# Embeddings for an engine over HTTP go many to a message: each text gets its own vector, and a bad one costs the others nothing.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $texts  = 300;
my $engine = SteadyText::Engine->new(options => [ '--embed-ms', 20 ]);
my $cluster;
sub start { my ($entry, @conf) = @_;
    $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.daemons = '$entry'", "steadytext.embedding_dimensions = 8", @conf ]);
    ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), "$entry is ready");
    # What an entry says of its engine is known once it has described itself.
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_models() WHERE role = 'embedding' AND served), 't'), 'and has told its models');
    return }
sub messages { return $engine->count('/v1/embeddings') }
my $rows = sub { my ($name, $count) = @_; return "SELECT count(*), count(embedding), count(DISTINCT embedding::text) FROM steadytext_embed_batch(ARRAY(SELECT '$name ' || i FROM generate_series(1, $count) i), false)" };

# ---- one statement ---------------------------------------------------------------------------------------------------------
start($engine->url . ' batch=1');
my $before = messages();
is($cluster->sql($rows->('alone', 40)), '40|40|40', 'batch=1: each text has its vector');
is(messages() - $before, 40, 'each by a message of its own');
my %alone = map { split /\|/, $_ } split /\n/, $cluster->sql(q(SELECT text_input, md5(embedding::text) FROM steadytext_embed_batch(ARRAY(SELECT 'order ' || i FROM generate_series(1, 70) i), false)));
$cluster->discard;

start($engine->url);
$before = messages();
is($cluster->sql($rows->('together', $texts)), "$texts|$texts|$texts", 'each text has its vector');
cmp_ok(messages() - $before, '<=', $texts / 8, 'by few messages');
is($engine->count('most_texts'), 32, 'of 32 texts at most, unless the entry says another number');
my %together = map { split /\|/, $_ } split /\n/, $cluster->sql(q(SELECT text_input, md5(embedding::text) FROM steadytext_embed_batch(ARRAY(SELECT 'order ' || i FROM generate_series(1, 70) i), false)));
is_deeply(\%together, \%alone, 'the same vector as alone, in whatever order they came back');
is($cluster->sql(q(SELECT steadytext_embed('one') IS NOT NULL)), 't', 'a text alone is sent alone');
is(ref $engine->last->{body}{input}, 'ARRAY', 'as ever');

# ---- one bad text ------------------------------------------------------------------------------------------------------------
$before = messages();
my $bad = q(SELECT count(embedding), string_agg(text_input, ' ') FILTER (WHERE embedding IS NULL)
    FROM steadytext_embed_batch(ARRAY(SELECT CASE WHEN i = 77 THEN '!bad apple' ELSE 'good ' || i END FROM generate_series(1, 256) i), false));
is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'null'; $bad"), '255|!bad apple', 'a bad text fails alone');
my $after = messages();
cmp_ok($after - $before, '<=', 256 / 8 + 2 * 5, 'and is found by halves');
my $told = $cluster->try_sql("SELECT steadytext_embed('!bad apple', use_cache => false)");
is($told->{state}, '38000', 'alone it fails too');
like($told->{err}, qr/a text is bad/, 'in the engine\'s words');
is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'null';
    SELECT count(embedding) FROM steadytext_embed_batch(ARRAY(SELECT '!bad ' || i FROM generate_series(1, 64) i), false)"), 0, 'all of them may be bad');
cmp_ok(messages() - $after, '<=', 1 + 2 * 64 + 8, 'which costs twice as many messages as texts at most');
is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'and the engine has not failed');

# ---- an engine that declines the message --------------------------------------------------------------------------------------
for my $case ([ 429 => { status => 429, headers => { 'Retry-After' => '1' }, body => { error => { message => 'slow down', code => 'rate_limit_exceeded' } } } ],
    [ 'a lost connection' => { hangup => 1 } ], [ 'nonsense' => { body => { data => [ { index => 0, embedding => [ 1, 2 ] } ] } } ], [ '500 without a word' => { status => 500, body => '' } ]) {
    my ($what, $reply) = @$case;
    $engine->next(path => '/v1/embeddings', times => 1, %$reply);
    is($cluster->sql($rows->("after $what", 64)), '64|64|64', "$what costs no text its vector");
    $engine->next(clear => 1);
}
is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'the engine has not failed');
is($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use')), 0, 'no slot is in use');

# ---- roles, sessions and cancel -------------------------------------------------------------------------------------------------
$cluster->sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN');
{
    my $slow = $cluster->session(user => 'alice')->send(q(SELECT count(*) FROM steadytext_embed_batch(ARRAY(SELECT 'of alice ' || i FROM generate_series(1, 50000) i), false)));
    ok($cluster->wait_for(sub { $cluster->sql('SELECT sum(in_flight) > 0 FROM steadytext_daemons') eq 't' }), 'a statement of many texts is under way');
    is($cluster->sql($rows->('of bob', 30), user => 'bob'), '30|30|30', 'beside another role\'s');
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'));
    is($slow->finish->{state}, '57014', 'which is cancelled');
    ok($cluster->poll_until('SELECT sum(in_flight) FROM steadytext_daemons', 0), 'nothing of it is under way');
}
$cluster->discard;

# ---- an engine that takes fewer -----------------------------------------------------------------------------------------------
my $small = SteadyText::Engine->new(options => [ '--most-texts', 8 ]);
start($small->url . ' batch=100');
is($cluster->sql($rows->('fewer', 200)), '200|200|200', 'an engine that takes fewer texts than the entry says gets fewer');
$cluster->discard;

done_testing;
