# Reranking with a real model orders a labelled set better than words do.
#
# t/data/rerank.jsonl: 70 queries with 10 real sentences each, of which some answer (relevance 2) or touch (1) the query. The
# measure is NDCG@10 (Järvelin and Kekäläinen 2002) with gains 2^relevance - 1. No reranker model is small enough to ship with
# the tests, so the scores are the cosines of the demo's embedding model, which is what a daemon without a reranker gives.
use strict;
use warnings;
use utf8;
use SteadyText::Cluster;
use Test::More;
use JSON::PP ();
use List::Util qw(sum);

my $cluster = SteadyText::Cluster->new(daemon => 'native', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '300s'" ]);
# Until it has told its models, nothing is cached: the keys would rest on a guess.
ok($cluster->poll_until(q(SELECT bool_or(served) FROM steadytext_models() WHERE role IN ('reranker', 'embedding')), 't', 120), 'the daemon has told its models');
my $reranker = $cluster->sql(q(SELECT model FROM steadytext_models() WHERE role IN ('reranker', 'embedding') ORDER BY role DESC LIMIT 1));

my @set = do { open my $file, '<', 't/data/rerank.jsonl' or die $!; map { JSON::PP::decode_json($_) } <$file> };
cmp_ok(scalar @set, '>=', 50, scalar @set . ' queries');
is(scalar(grep { @{ $_->{documents} } != 10 || @{ $_->{relevance} } != 10 } @set), 0, 'with 10 documents each');

sub ndcg {
    my (@relevance) = @_;
    my $dcg = sub { my $rank = 1; return sum map { (2**$_ - 1) / (log(++$rank) / log 2) } @_ };
    return $dcg->(@relevance) / $dcg->(sort { $b <=> $a } @relevance);
}

# The relevance of the documents, in the order of their scores; equals as they came.
sub by_score {
    my ($case, @scores) = @_;
    return map { $case->{relevance}[$_] } sort { $scores[$b] <=> $scores[$a] || $a <=> $b } 0 .. $#scores;
}

sub words { return map { lc } $_[0] =~ /\w+/g }

# The share of the query's words that a document has.
sub overlap {
    my ($query, $document) = @_;
    my %has = map { $_ => 1 } words($document);
    my @asked = words($query);
    return grep({ $has{$_} } @asked) / @asked;
}

my $rows = JSON::PP->new->utf8->encode([ map { { query => $_->{query}, documents => $_->{documents} } } @set ]);
my $ask  = "SELECT c.i - 1, json_agg(array_position(d.documents, r.document) - 1 ORDER BY r.n), json_agg(r.score ORDER BY r.n)"
    . " FROM jsonb_array_elements(\$set\$$rows\$set\$) WITH ORDINALITY AS c(j, i),"
    . " LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(j->'documents')) AS documents) d,"
    . " LATERAL steadytext_rerank(j->>'query', d.documents) WITH ORDINALITY AS r(document, score, n) GROUP BY c.i ORDER BY c.i";
my $requests = q(SELECT requests FROM steadytext_daemons);
my $before   = $cluster->sql($requests);
my $answer   = $cluster->sql($ask);
is($cluster->sql($requests) - $before, scalar @set, 'the ten documents of a query are one request');

my (@model, @lexical, @scores);
for my $line (split /\n/, $answer) {
    my ($i, $order, $scores) = split /\|/, $line;
    my $case = $set[$i];
    push @model,   ndcg(map { $case->{relevance}[$_] } @{ JSON::PP::decode_json($order) });
    push @lexical, ndcg(by_score($case, map { overlap($case->{query}, $_) } @{ $case->{documents} }));
    push @scores,  @{ JSON::PP::decode_json($scores) };
}
is(scalar @model, scalar @set, 'every query has an answer');
my ($ours, $words) = map { sum(@$_) / @$_ } \@model, \@lexical;
diag(sprintf 'NDCG@10 over %d queries: %.3f by %s, %.3f by lexical overlap', scalar @set, $ours, $reranker, $words);
cmp_ok($ours, '>', $words, 'better than lexical overlap');
is(scalar(grep { $_ < 0 || $_ > 1 } @scores), 0, 'scores are from 0 to 1');
cmp_ok(scalar(keys %{ { map { $_ => 1 } @scores } }), '>', 0.9 * @scores, 'and continuous: hardly two are equal');

is($cluster->sql("SET steadytext.cache_enabled = off; $ask"), $answer, 'asked again without the cache, every digit is the same');
# Whatever shared memory had no room for, the table has once the keeper has written.
$cluster->sql('SELECT steadytext_frecency_refresh()');
$before = $cluster->sql($requests);
is($cluster->sql($ask), $answer, 'so it is from the cache');
is($cluster->sql($requests), $before, 'which asks no daemon');

done_testing;
