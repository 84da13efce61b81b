# One request of one role, whatever is in it, is no harm to the calls of others that the same engine has under way.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $engine  = SteadyText::Engine->new;
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'",
    sprintf "steadytext.daemons = '%s'", $engine->url ]);
$cluster->sql(q(CREATE ROLE plain LOGIN));
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
done_testing;
