# A daemon has a model for texts and another for embeddings, and an engine may have many: what one of them fails at is held off, and nothing else.
# Whoever asks for it, however often, closes nothing to those that ask for what works.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'",
    'steadytext.breaker_threshold = 2', "steadytext.breaker_timeout = '300ms'", "steadytext.breaker_recovery = '600s'" ]);
$cluster->sql("CREATE ROLE $_ LOGIN") for qw(mallory eve bob);
my %asks = (text => q(SELECT steadytext_generate('of ' || random(), use_cache => false%s)), embedding => q(SELECT steadytext_embed('of ' || random(), use_cache => false%s)));
my %paths = (text => '/v1/chat/completions', embedding => '/v1/embeddings');
sub ask { my ($role, $kind, $model) = @_; return $cluster->try_sql(sprintf($asks{$kind}, $model ? ", model => '$model'" : ''), user => $role) }
sub outcome { return ask(@_)->{state} || 'answered' }
sub use_engine {
    my ($what, @models) = @_;
    my $engine = SteadyText::Engine->new(options => [ map { ('--model', $_) } @models ]);
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", $engine->url);
    $cluster->reload;
    ok($cluster->poll_until(sprintf(q(SELECT state FROM steadytext_daemons WHERE endpoint = '%s'), $engine->url), 'ready'), "$what: an engine");
    return $engine;
}
sub fails { my ($engine, $kind, %reply) = @_; $engine->next(path => $paths{$kind}, times => 1_000_000, status => 500, body => 'it cannot', %reply); return }
sub daemon { my ($what) = @_; return $cluster->sql("SELECT $what FROM steadytext_daemons WHERE state <> 'draining'") }
sub reset_all { $cluster->sql(q(SELECT steadytext_daemon_reset(endpoint) FROM steadytext_daemons)); return }
sub held_off { my (@what) = @_; return $cluster->wait_for(sub { outcome(@what) eq '08004' }) }

for my $case ([ embedding => 'text' ], [ text => 'embedding' ]) {
    my ($broken, $working) = @$case;
    for my $how ([ 'HTTP 500' ], [ 'the key refused', status => 403, body => { error => { message => 'no' } } ], [ 'nonsense', status => 200, body => 'nonsense' ], [ 'a closed connection', hangup => 1 ]) {
        my ($what, @reply) = @$how;
        my $engine = use_engine("$broken, $what", qw(one two));
        fails($engine, $broken, @reply);
        # Asked so often that a breaker would have opened long ago. What is known of an engine holds for a second.
        ok(held_off(mallory => $broken), "$broken, $what: is held off after some failures");
        my $before = $engine->count($paths{$broken});
        my $refused = ask(eve => $broken);
        is($refused->{state}, '08004', "$broken, $what: for everybody");
        like($refused->{err}, qr/fail at every inference daemon that is up.*HINT.*steadytext_daemon_reset/s, "$broken, $what: and says so");
        is($engine->count($paths{$broken}), $before, "$broken, $what: without asking the engine");
        is(outcome($_ => $working), 'answered', "$broken, $what: the other kind answers $_") for qw(bob mallory);
        is(daemon('breaker'), 'closed', "$broken, $what: the breaker is closed");
        like(daemon('reason'), $broken eq 'text' ? qr/^calls for texts by model "one" fail: / : qr/^calls for embeddings by model "one" fail: /, "$broken, $what: the view tells what fails");
        is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'daemon')), 'degraded', "$broken, $what: which is degraded");
        $engine->next(path => 'none', clear => 1);
        reset_all();
        ok($cluster->wait_for(sub { outcome(bob => $broken) eq 'answered' }), "$broken, $what: a reset ends that");
    }
}

# Of three models two are broken.
{
    my $engine = use_engine('two of three', qw(one two three));
    fails($engine, 'text', model => $_) for qw(one two);
    for my $model (qw(one two)) {
        ok(held_off(mallory => 'text', $model), "two of three: $model is held off");
        is(outcome(bob => 'text', 'three'), 'answered', 'two of three: the third answers');
    }
    is(daemon('breaker'), 'closed', 'two of three: the breaker is closed');
    is(outcome(bob => 'text'), '08004', 'two of three: the default model is the first, and is held off by no name too');
}

# Where it is all that there is, it is the engine: nothing else has been answered, and nothing else is.
{
    my $engine = use_engine('everything', qw(one two));
    fails($engine, $_) for qw(text embedding);
    ok($cluster->wait_for(sub { outcome(mallory => 'embedding'); daemon('breaker') eq 'open' }), 'everything fails: the breaker opens');
    like(daemon('reason'), qr/HTTP 500: it cannot/, 'everything fails: with the words for the gateway\'s own request');
}

# Another engine takes what is held off at the first.
{
    my ($broken, $other) = map { SteadyText::Engine->new } 1, 2;
    $cluster->append_conf(sprintf "steadytext.daemons = '%s weight=1000, %s'", map { $_->url } $broken, $other);
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 2), 'two engines');
    fails($broken, 'embedding');
    ok($cluster->wait_for(sub { my $before = $broken->count($paths{embedding}); outcome(mallory => 'embedding') eq 'answered' && $broken->count($paths{embedding}) == $before }),
        'what one fails at is asked of the other');
    is(outcome(bob => 'text'), 'answered', 'while both answer the rest');
}

# An engine of one model that asks embeddings to come again later goes on with texts.
{
    my $engine = use_engine('a limit', 'one');
    fails($engine, 'embedding', status => 429, headers => { 'Retry-After' => '50' }, body => { error => { message => 'Rate limit reached' } });
    is(outcome(mallory => 'embedding'), '57P03', 'a limit: embeddings wait');
    is(outcome(bob => 'text'), 'answered', 'a limit: texts do not');
    is(daemon('until'), '', 'a limit: the engine has put off nobody else');
}

# A daemon over ZeroMQ whose embeddings hang: timeouts of two roles, while texts have been answered.
for my $options ([ 'native' ], [ 'serial', '--serial', '--slots=8' ]) {
    my ($name, @options) = @$options;
    my $daemon = $cluster->start_echo(name => $name, options => [@options]);
    $cluster->append_conf("steadytext.daemons = '$daemon->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'", 'ready'), "$name: a daemon");
    is(outcome(bob => 'text'), 'answered', "$name: texts are answered");
    my $hangs = sub { my ($role) = @_; return $cluster->try_sql(q(SET steadytext.request_timeout = '400ms'; SELECT steadytext_embed('!fault:no-reply', use_cache => false)), user => $role)->{state} };
    ok($cluster->wait_for(sub { grep { $hangs->($_) eq '08004' } qw(mallory eve) }), "$name: embeddings that hang are held off");
    is(daemon('breaker'), 'closed', "$name: the breaker is closed");
    is(outcome(bob => 'text'), 'answered', "$name: texts are answered as before");
}

done_testing;
