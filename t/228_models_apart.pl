# One engine, several models, as behind a proxy: each has limits and failures of its own. What a model does is felt by those that ask for it.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my ($default, $other, $third) = my @models = qw(default other third);
my $engine  = SteadyText::Engine->new(options => [ map { ('--model', $_) } @models ]);
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'",
    'steadytext.breaker_threshold = 1', "steadytext.breaker_timeout = '1s'", sprintf "steadytext.daemons = '%s'", $engine->url ]);
$cluster->sql('CREATE ROLE mallory LOGIN; CREATE ROLE bob LOGIN');
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');

my %asks = (
    'a text'       => q(SELECT steadytext_generate('%s', model => '%s', use_cache => false)),
    'an embedding' => q(SELECT steadytext_embed('%s', model => '%s', use_cache => false) IS NOT NULL),
    'a stream'     => q(SELECT string_agg(t, '') FROM steadytext_generate_stream('%s', model => '%s', use_cache => false) t),
);
my ($kind, $path);
sub ask { my ($role, $model, $set) = @_; return $cluster->try_sql(($set // '') . sprintf($asks{$kind}, "of $role", $model), user => $role) }
sub outcome { my $result = ask(@_); return $result->{state} eq '57P03' ? 'put off' : $result->{state} ? "fails: $result->{state}" : 'answered' }
sub of_engine { my ($what) = @_; return $cluster->sql("SELECT $what FROM steadytext_daemons") }
sub asked { my ($model) = @_; return $engine->count($model ? "$path $model" : $path) }
sub from_now_on { my (%reply) = @_; $engine->next(path => $path, times => 1_000_000, %reply); return }
sub as_before {
    $engine->next(path => 'none', clear => 1);
    $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
    ok($cluster->wait_for(sub { outcome(mallory => $_[0] // $other) eq 'answered' }), "$kind: mended, and reset");
    return;
}

my %busy = (status => 429, headers => { 'Retry-After' => '50' }, body => { error => { message => 'Rate limit reached', code => 'rate_limit_exceeded' } });
for (sort keys %asks) {
    $kind = $_;
    $path = $kind eq 'an embedding' ? '/v1/embeddings' : '/v1/chat/completions';

    # A model that answered last, and is at its limit then.
    is(outcome(mallory => $other), 'answered', "$kind: one role asks a model");
    from_now_on(model => $other, %busy);
    is(outcome(mallory => $other), 'put off', "$kind: and beyond the limit that it has");
    my $before = asked();
    is(outcome(mallory => $other), 'put off', "$kind: that model is not asked again for that role");
    is(asked(), $before, "$kind: before its time");
    is(outcome(mallory => $third), 'answered', "$kind: another model answers that role");
    is(outcome(bob => $_), 'answered', "$kind: $_ answers another role") for $default, $third;
    is(of_engine(q(concat_ws(' ', state, breaker, until))), 'ready closed', "$kind: the engine is none the worse");
    as_before();

    # The default model at its limit: all that ask for it wait, by its name or by none, and nobody else.
    from_now_on(model => $default, %busy);
    is(outcome(mallory => $default), 'put off', "$kind: the default model at its limit");
    # Whether it puts off all is known for a second; a role that comes later than that has asked for nothing yet.
    my $late = 0;
    ok($cluster->wait_for(sub {
        my $role = sprintf 'late_%s_%d', $kind =~ tr/ /_/r, $late++;
        $cluster->sql("CREATE ROLE $role LOGIN");
        $before = asked();
        return outcome($role => $default) eq 'put off' && asked() == $before;
    }), "$kind: puts off all that ask for it, without asking");
    $before = asked();
    is(outcome(bob => $default), 'put off', "$kind: whoever it is");
    my $unnamed = sprintf $asks{$kind}, 'nameless', '';
    is($cluster->try_sql($unnamed =~ s/, model => ''//r, user => 'bob')->{state}, '57P03', "$kind: by no name too");
    is(asked(), $before, "$kind: without asking");
    is(outcome($_ => $other), 'answered', "$kind: another model answers $_") for qw(bob mallory);
    is(of_engine(q(breaker)), 'closed', "$kind: that is no failure");
    as_before($default);

    # A model that answered last, and fails at whatever it is asked then: that convicts no other. Nor does the default one.
    for my $case (
        [ 'HTTP 500',                    status => 500, body => { error => { message => 'CUDA error' } } ],
        [ 'HTTP 500 without a word',     status => 500 ],
        [ 'nonsense',                    body   => 'nonsense' ],
        [ 'a connection that is closed', hangup => 1 ],
        [ 'HTTP 403',                    status => 403, body => { error => { message => 'no' } } ],
        [ 'HTTP 501',                    status => 501, body => { error => { message => 'not this model' } } ],
    ) {
        my ($what, %reply) = @$case;
        for my $model ($other, $default) {
            is(outcome(mallory => $model), 'answered', "$kind, $what: model $model answers");
            from_now_on(model => $model, %reply);
            # What is known of an engine holds for a second. After it the gateway asks for itself: that model, and where it fails another one.
            my ($witness) = grep { $_ ne $model } @models;
            my $its_own = $reply{status} && $reply{status} == 501;  # it may be for another purpose
            my $was = asked($witness);
            my $tries = $kind eq 'a stream' ? 1 : 2;
            ok($cluster->wait_for(sub { my $before = asked($model); outcome(mallory => $model) =~ /fails/ && ($its_own ? asked($model) - $before > $tries : asked($witness) > $was) }),
                "$kind, $what: and fails, and $witness is asked");
            is(outcome(bob => $_), 'answered', "$kind, $what: $_ answers another role") for grep { $_ ne $model } @models;
            is(of_engine('breaker'), 'closed', "$kind, $what: the breaker is closed");
            as_before($model);
        }
    }
}

# One that hangs.
$kind = 'a text';
$path = '/v1/chat/completions';
from_now_on(model => $other, hang => 3000);
like(outcome(mallory => $other, q(SET steadytext.request_timeout = '1200ms'; )), qr/fails/, 'a model that hangs');
is(of_engine('breaker'), 'closed', 'is not the engine');
is(outcome(bob => $default), 'answered', 'which answers');
as_before($default);

# What fails at every model is the engine.
from_now_on(status => 500);
$engine->next(path => '/v1/embeddings', times => 1_000_000, status => 500);
ok($cluster->wait_for(sub { outcome(mallory => $other); of_engine('breaker') eq 'open' }), 'an engine that fails with every model is told') or diag of_engine('reason');
as_before();
done_testing;
