# The simulation behind the figures of docs/nodes.md (bench/simulate_nodes.py), at small size: the same seed gives the same figures, and they are what
# the protocol's constants say.
use strict;
use warnings;
use JSON::PP;
use Test::More;

sub figures { my (@options) = @_; my $said = `bench/simulate_nodes.py --json --seconds 10 @options`; return $? == 0 ? decode_json($said) : {} }

my $few = figures('--nodes', 10, '--seed', 7);
is_deeply(figures('--nodes', 10, '--seed', 7), $few, 'the same seed, the same figures');
isnt(figures('--nodes', 10, '--seed', 8)->{lookups}, $few->{lookups}, 'another seed, others');
my $many = figures('--nodes', 100, '--seed', 7);
for my $each ($few, $many) {
    my ($nodes, $per_s) = @$each{qw(nodes statements_per_s)};
    ok(abs($per_s->{watch} / $nodes - 1) < 0.3, "$nodes nodes: each asks for the number of clears once a second, and after a clear");
    ok(abs($each->{lookups} / 10 / $nodes - 5) < 1, 'each has five misses a second');
    cmp_ok($per_s->{get}, '<=', $each->{lookups} / 10 + $nodes, 'in no more statements than that');
    cmp_ok($per_s->{put}, '<=', $per_s->{get}, 'and brings what the hub had not');
    cmp_ok($each->{lookup_ms}[0], '>=', 1, 'a lookup takes a round trip at least');
    is($each->{late}, 0, 'and is not late');
}
cmp_ok(abs($many->{processors} / $few->{processors} / 10 - 1), '<', 0.3, 'ten times as many nodes are ten times the load');
cmp_ok(figures('--nodes', 100, '--misses', 1000, '--processors', 1, '--get-us', 5000)->{late}, '>', 0.5, 'a hub that is too slow is late');
done_testing;
