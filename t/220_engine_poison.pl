# One request of one role, whatever is in it, is no harm to the calls of others that the same engine has under way.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Engine;
use SteadyText::Load;
use Test::More;

my $engine  = SteadyText::Engine->new(options => [ '--answer-ms', 20 ]);
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'",
    sprintf "steadytext.daemons = '%s'", $engine->url ]);
$cluster->sql('CREATE ROLE plain LOGIN');
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');

sub as_plain { my ($sql) = @_; return $cluster->try_sql("SET ROLE plain; $sql") }
sub healthy { return join '|', $cluster->sql('SELECT state, breaker, failures FROM steadytext_daemons') }

# Schemas with numbers of more digits, and of more depth, than what reads the gateway's messages holds: the engine gets them as they are.
my $deep = '{"type": "integer"}';
$deep = qq({"anyOf": [$deep]}) for 1 .. 60;
for my $case (
    [ '{"type": "integer", "maximum": 1e32}', 'a bound of 1e32' ],
    [ '{"type": "integer", "maximum": 1' . '0' x 300 . '}', 'a bound of 300 digits' ],
    [ '{"type": "integer", "minimum": -123456789012345678901234}', 'a bound below any integer of the machine' ],
    [ $deep, 'sixty levels' ],
) {
    my ($schema, $what) = @$case;
    my $slow = $cluster->session->send(q(SELECT steadytext_generate('!http:slow=1500 still here', use_cache => false)));
    ok($cluster->poll_until('SELECT in_flight FROM steadytext_daemons', 1), "$what: another's call is under way");
    my $result = as_plain("SELECT steadytext_generate_json('7', '$schema', use_cache => false)");
    is($result->{out}, 7, "$what: is answered") or diag $result->{err};
    cmp_ok($result->{seconds}, '<', 1.4, "$what: at once");
    my $other = $slow->finish;
    is($other->{out}, 'still here', "$what: the other call has its answer") or diag $other->{err};
    my $id = $cluster->sql("SELECT steadytext_generate_json_async('7', '$schema')");
    ok($cluster->poll_until("SELECT status FROM steadytext_check_async('$id')", 'completed'), "$what: as an asynchronous call too")
        or diag $cluster->sql("SELECT * FROM steadytext_check_async('$id')");
}
is(healthy(), 'ready|closed|0', 'the engine has failed at nothing');
is($cluster->sql(q(SELECT sum(value) FROM steadytext_metrics() WHERE name IN ('steadytext_retries_total', 'steadytext_connections_lost_total'))), 0,
    'nothing was sent twice, no connection was lost');

# ---- a thousand requests of twenty kinds beside eight sessions -----------------------------------------------------------------

# What one role asks for: [ what it is, the call ]. An engine's answer is written out in the prompt, see t/tools/openai_server.py.
my $json = JSON::PP->new->canonical;
sub text { my ($prompt) = @_; return "steadytext_generate(\$p\$$prompt\$p\$, use_cache => false)" }
sub told { my (%reply) = @_; return text('!raw:' . $json->encode(\%reply)) }
sub streamed { my (@events) = @_; return sprintf q((SELECT count(*) FROM steadytext_generate_stream($p$!raw:%s$p$, use_cache => false))), $json->encode({ stream => \@events }) }
sub valued { my ($schema) = @_; return "steadytext_generate_json('7', '$schema', use_cache => false)" }
sub words { my ($words) = @_; return { error => { message => $words } } }
my @poison = (
    [ 'a bound of 1e32',             valued('{"type": "integer", "maximum": 1e32}') ],
    [ 'a bound of 300 digits',       valued('{"type": "integer", "maximum": 1' . '0' x 300 . '}') ],
    [ 'sixty levels',                valued($deep) ],
    [ 'HTTP 400',                    told(status => 400, body => words('too long')) ],
    [ 'HTTP 413 of a text',          told(status => 413, body => 'too large') ],
    [ 'HTTP 422',                    told(status => 422, body => { detail => [ { loc => ['body'], msg => 'bad' } ] }) ],
    [ 'HTTP 404 of a model',         told(status => 404, body => words('no such model')) ],
    [ 'HTTP 500 about the input',    told(status => 500, body => words('input is too large')) ],
    [ 'HTTP 500 without a word',     told(status => 500) ],
    [ 'HTTP 502 of a proxy',         told(status => 502, body => '<html>Bad Gateway</html>') ],
    [ 'HTTP 503 about the input',    told(status => 503, body => words('no slot can hold it')) ],
    [ 'HTTP 401',                    told(status => 401, body => words('not that')) ],
    [ 'HTTP 403 of a filter',        told(status => 403, body => words('not that')) ],
    [ 'a redirect',                  told(status => 302, headers => { Location => '/v1/stolen' }) ],
    [ 'a connection that is closed', told(hangup => 1) ],
    [ 'half a reply',                text('!http:half x') ],
    [ 'nonsense',                    text('!http:garbage x') ],
    [ 'an error with HTTP 200',      told(body => words('refused')) ],
    [ 'an empty answer',             told(body => { choices => [ { message => { content => '' }, finish_reason => 'length' } ] }) ],
    [ 'half a stream',               streamed("data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n", "data: {\"choices\": [{\n\n") ],
);
is(scalar @poison, 20, 'twenty kinds');
$cluster->sql('CREATE TABLE poisoned (kind text, state text); GRANT INSERT ON poisoned TO plain');
my ($rounds, $times) = (5, 10);
my $ask_all = join "\n", map { my ($kind, $call) = @$_;
    "BEGIN PERFORM $call; state := 'answered'; EXCEPTION WHEN OTHERS THEN state := SQLSTATE; END; INSERT INTO poisoned VALUES ('$kind', state);" } @poison;
my $poison = "SET client_min_messages = error; DO \$do\$ DECLARE state text; BEGIN FOR i IN 1 .. $times LOOP $ask_all END LOOP; END \$do\$";

# In turns without and with it, so that what else the machine does befalls both.
my (%p99, %median, $answers);
for my $round (1 .. $rounds) {
    for my $with (0, 1) {
        my $load = SteadyText::Load->new($cluster, clients => 8);
        $load->await(100);
        if ($with) {
            my $result = $cluster->try_sql($poison, user => 'plain');
            is($result->{err}, '', "round $round: the poison is asked");
        } else {
            $load->await(1000);
        }
        $load->finish;
        is($load->not_right, '', "round $round, " . ($with ? 'beside it' : 'without it') . ': no call of the eight sessions fails');
        push @{ $p99{$with} }, $load->milliseconds(0.99);
        push @{ $median{$with} }, $load->milliseconds(0.5);
        $answers += $load->calls;
    }
}
is($cluster->sql('SELECT count(*) FROM poisoned'), $rounds * $times * @poison, 'all of it was asked');
is($cluster->sql(q(SELECT string_agg(kind || ': ' || states, ', ') FROM (SELECT kind, string_agg(DISTINCT state, ' ') AS states FROM poisoned GROUP BY kind) k WHERE states LIKE '% %')),
    '', 'each kind ends the same way each time');
is(healthy() =~ s/\|\d+$//r, 'ready|closed', 'the breaker is closed');

sub middle { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] }
sub spread { my @sorted = sort { $a <=> $b } @_; return sprintf '%.1f (%.1f to %.1f)', middle(@_), @sorted[ 0, -1 ] }
my ($without, $beside) = map { middle(@{ $p99{$_} }) } 0, 1;
diag(sprintf '%d poison requests of %d kinds beside 8 sessions (%d answers): p99 %s ms, without %s ms, %.2f times; median %s ms, without %s ms', $rounds * $times * @poison, scalar @poison, $answers,
    spread(@{ $p99{1} }), spread(@{ $p99{0} }), $beside / $without, spread(@{ $median{1} }), spread(@{ $median{0} }));
cmp_ok($beside / $without, '<=', 1.5, 'the slowest of a hundred answers takes no more than half as long again');
done_testing;
