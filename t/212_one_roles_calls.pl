# A role whose own calls take long has its share of a daemon that cannot call them back, and opens no breaker to others.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '60s'", 'steadytext.breaker_threshold = 3',
    "steadytext.breaker_timeout = '300ms'", "steadytext.breaker_recovery = '600s'" ]);
$cluster->sql('CREATE ROLE mallory LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN');
sub use_daemon {
    my ($name, @options) = @_;
    my $daemon = $cluster->start_echo(name => $name, options => [@options]);
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$daemon->{endpoint}'");
    $cluster->sql('SELECT pg_reload_conf()');
    ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'", 'ready'), "$name: a daemon");
    return $daemon;
}
sub generate { my ($prompt) = @_; return "SELECT steadytext_generate('$prompt ' || random(), use_cache => false)" }
sub outcome { my ($role, $prompt, $timeout) = @_; return $cluster->try_sql("SET steadytext.request_timeout = '$timeout'; " . generate($prompt), user => $role)->{state} || 'answered' }
sub daemon { my ($what) = @_; return $cluster->sql("SELECT $what FROM steadytext_daemons") }

# A serial daemon: each request has a connection for itself, and goes on until it is answered.
{
    my $daemon = use_daemon('serial', '--serial', '--slots=8');
    my @hers   = map { $cluster->session(user => 'mallory')->send(generate('!fault:delay=120000')) } 1 .. 8;
    ok($cluster->wait_for(sub { daemon('in_flight') == 3 }), 'a role that is alone has three of five connections');
    is(outcome(bob => 'an answer', '20s'), 'answered', 'and another role is answered');
    is(daemon('in_flight'), 3, 'while hers go on');
    $cluster->sql(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'mallory'));
}

# Timeouts.
for my $kind ([ 'native' ], [ 'slow serial', '--serial' ]) {
    my ($name, @options) = @$kind;
    use_daemon($name =~ tr/ /_/r, @options);
    is(outcome($_ => 'an answer', '20s'), 'answered', "$name: $_ is answered") for qw(bob mallory);
    is(outcome(mallory => '!fault:hold', '400ms'), 'HYT00', "$name: a role's own call times out") for 1 .. 3;
    is(outcome(mallory => 'an answer', '20s'), '08004', "$name: that role is held back");
    is(daemon('breaker'), 'closed', "$name: the breaker is closed");
    like($cluster->try_sql(generate('an answer'), user => 'mallory')->{err}, qr/this role's requests fail at every inference daemon that is up.*HINT.*steadytext_daemon_reset/s, "$name: and told why");
    is(outcome(bob => 'an answer', '20s'), 'answered', "$name: others are answered");
    is(outcome(mallory => 'an answer', '20s'), 'answered', "$name: an answer to anybody ends that");
    is(outcome(mallory => '!fault:hold', '400ms'), 'HYT00', "$name: three more time out") for 1 .. 3;
    is(outcome(mallory => 'an answer', '20s'), '08004', "$name: held back again");
    $cluster->sql('SELECT steadytext_daemon_reset(endpoint) FROM steadytext_daemons');
    ok($cluster->wait_for(sub { outcome(mallory => 'an answer', '20s') eq 'answered' }), "$name: a reset ends that too");

    # Two roles.
    for my $role (qw(mallory bob) x 2) { outcome($role => '!fault:hold', '400ms') }
    ok($cluster->wait_for(sub { outcome($_ => '!fault:hold', '400ms') for qw(mallory bob); daemon('breaker') eq 'open' }), "$name: timeouts of two roles with no answer between them open the breaker");
    is(daemon('reason'), 'a request timed out', "$name: and say why");
}

# Answers that cannot be read, as what a role asks may make them so.
{
    use_daemon('odd');
    is(outcome($_ => 'an answer', '20s'), 'answered', "odd answers: $_ is answered") for qw(bob mallory);
    is(outcome(mallory => '!fault:nul', '20s'), '08P01', "odd answers: a role cannot read its own") for 1 .. 3;
    is(outcome(mallory => 'an answer', '20s'), '08004', 'odd answers: that role is held back');
    is(daemon('breaker'), 'closed', 'odd answers: the breaker is closed');
    is(outcome($_ => 'an answer', '20s'), 'answered', "odd answers: $_ is answered") for qw(bob mallory);
    is(outcome(mallory => '!fault:nul', '20s'), '08P01', 'odd answers: three more') for 1 .. 3;
    $cluster->sql('SELECT steadytext_daemon_reset(endpoint) FROM steadytext_daemons');
    ok($cluster->wait_for(sub { outcome(mallory => 'an answer', '20s') eq 'answered' }), 'odd answers: a reset lets it through');
    for my $role (qw(mallory bob) x 3) { outcome($role => '!fault:nul', '20s') }
    is(daemon('breaker'), 'open', 'odd answers: those of two roles with no other between them open it');
}

# A role that uses the daemon alone, and who comes next. Its calls go on meanwhile.
for my $kind ([ 'native' ], [ 'serial', '--serial', '--slots=8' ]) {
    my ($name, @options) = @$kind;
    use_daemon("alone_$name", @options);
    is(outcome(carol => '!fault:hold', '400ms'), 'HYT00', "$name: calls of a role that uses the daemon alone time out") for 1 .. 3;
    is(outcome(carol => 'an answer', '20s'), '08004', "$name: it is held back");
    is(daemon('breaker'), 'closed', "$name: the breaker is closed");
    is(outcome(bob => 'an answer', '20s'), 'answered', "$name: who comes next is answered");
}

# A half-open breaker is not tried by the role whose try has timed out while another asks.
{
    use_daemon('half_open');
    $cluster->sql("ALTER SYSTEM SET steadytext.breaker_recovery = '1s'");
    $cluster->sql('SELECT pg_reload_conf()');
    for my $role (qw(mallory bob) x 3) { outcome($role => '!fault:hold', '400ms') }
    ok($cluster->wait_for(sub { outcome($_ => '!fault:hold', '400ms') for qw(mallory bob); daemon('breaker') ne 'closed' }), 'the breaker opens');
    my @hers = map { $cluster->session(user => 'mallory') } 1 .. 4;
    $_->send("SET steadytext.request_timeout = '400ms'; SET steadytext.on_failure = 'null'; DO \$\$ BEGIN FOR i IN 1 .. 1000 LOOP PERFORM steadytext_generate('!fault:hold' || i, use_cache => false); COMMIT; END LOOP; END \$\$") for @hers;
    ok($cluster->wait_for(sub { outcome(bob => 'an answer', '20s') eq 'answered' }), 'another role gets its try, and is answered');
    $cluster->sql(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'mallory'));
}
done_testing;
