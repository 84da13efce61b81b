# steadytextd with a reranker: a language model that is asked yes or no, and a cross-encoder. No reranker is small enough to ship with the
# tests, so the demo's own models stand in: what they rank first means little, but each score must be what llama.cpp itself computes.
use strict;
use warnings;
use utf8;
use File::Temp qw(tempdir);
use IPC::Run qw(finish run start timeout);
use JSON::PP;
use List::Util qw(max);
use Test::More;

my $folder   = tempdir(CLEANUP => 1);
my $json     = JSON::PP->new->utf8->allow_nonref;
my $patience = 120;
chomp(my $models = `scripts/models --print-dir`);

my $query     = 'Which city is the capital of France?';
my @documents = ('Bread is baked in an oven.', 'The capital of France is Paris.', 'A dog barks.', 'Größere Städte haben 🚋.', 'A dog barks.');

sub run_tool {
    my ($input, @command) = @_;
    my $output = '';
    utf8::encode($input) if utf8::is_utf8($input);
    run \@command, '<', \$input, '>', \$output, timeout($patience) or die "@command failed";
    return split /\n/, $output;
}

sub start_daemon {
    my ($name, $reranker) = @_;
    my ($in, $log) = ('', '');
    my $daemon = start [ 'build/steadytextd', '--endpoint', "ipc://$folder/$name", '--exit-on-stdin-eof', '--threads', 1, '--reranker-model', $reranker ],
        '<', \$in, '>&', \$log, timeout($patience);
    $daemon->pump until $log =~ /steadytextd: ready/ || !$daemon->pumpable;
    return ($daemon, "ipc://$folder/$name");
}

sub answer {
    my ($endpoint, $method, %params) = @_;
    my ($reply) = run_tool($json->encode({ id => 1, method => $method, params => \%params }) . "\n<\n", 'build/wire-client', $endpoint, $patience * 1000);
    return $json->decode($reply)->{result};
}

# The scores in the order of the documents.
sub scores {
    my ($endpoint, %more) = @_;
    my %of;
    push @{ $of{ $_->[0] } }, $_->[1] for @{ answer($endpoint, 'rerank', query => $query, documents => \@documents, %more) };
    return map { shift @{ $of{$_} } } @documents;
}

sub agree {
    my ($what, $ours, $reference) = @_;
    is(scalar @$ours, scalar @$reference, "$what: a score for each document");
    cmp_ok(max(map { abs($ours->[$_] - $reference->[$_]) } 0 .. $#$ours), '<', 1e-5, "$what: each is what llama.cpp computes")
        or diag "@$ours\n@$reference";
    return;
}

sub holds_what_any_does {
    my ($what, $endpoint, $name) = @_;
    my ($model) = @{ answer($endpoint, 'info')->{models} };
    is_deeply([ @{$model}{qw(role name)} ], [ 'reranker', $name ], "$what: told as a reranker");
    like($model->{fingerprint}, qr/^[0-9a-f]{64}$/, "$what: with a fingerprint");
    my @scores = scores($endpoint);
    is_deeply([ scores($endpoint) ], \@scores, "$what: the same again, every digit");
    is($scores[2], $scores[4], "$what: equal documents have equal scores");
    cmp_ok(scalar(keys %{ { map { $_ => 1 } @scores } }), '==', 4, "$what: others have others");
    is(scalar(grep { $_ <= 0 || $_ >= 1 } @scores), 0, "$what: from 0 to 1");
    my $ranking = answer($endpoint, 'rerank', query => $query, documents => \@documents);
    is_deeply([ map { $_->[1] } @$ranking ], [ sort { $b <=> $a } @scores ], "$what: best first");
    is_deeply(answer($endpoint, 'rerank', query => $query, documents => [ $documents[1] ]), [ [ $documents[1], $scores[1] ] ],
        "$what: a score does not depend on what is ranked beside it");
    my $cut = answer($endpoint, 'rerank', query => $query, documents => [ 'word ' x 20_000, $documents[0] ]);
    is_deeply($cut->[1], [ 'word ' x 20_000, 0 ], "$what: a document that does not fit scores 0");
    is($cut->[0][1], $scores[0], "$what: and takes no other along");
    return;
}

# As Qwen3-Reranker is asked, word for word.
{
    my $model = "$models/smollm2-135m-instruct-q4_1.gguf";
    my ($daemon, $endpoint) = start_daemon('yes-no', $model);
    holds_what_any_does('yes or no', $endpoint, 'smollm2-135m-instruct-q4_1');
    for my $task (undef, 'Find the sentence that a child would like') {
        my $instruct = $task // 'Given a web search query, retrieve relevant passages that answer the query';
        my @prompts = map { "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
            . "Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: $instruct\n<Query>: $query\n<Document>: $_<|im_end|>\n"
            . "<|im_start|>assistant\n<think>\n\n</think>\n\n" } @documents;
        agree(defined $task ? 'a task of the caller' : 'the usual task', [ scores($endpoint, defined $task ? (task => $task) : ()) ],
            [ run_tool(join('', map { "$_\0" } @prompts), 'build/rank-reference', $model) ]);
    }
    finish $daemon;
}

# [CLS] query [SEP] document [SEP], as BERT was trained.
{
    my $model = "$folder/cross-encoder.gguf";
    run_tool('', 'python3', 't/tools/make_cross_encoder.py', "$models/all-minilm-l6-v2.gguf", $model);
    my ($daemon, $endpoint) = start_daemon('cross', $model);
    holds_what_any_does('a cross-encoder', $endpoint, 'cross-encoder');
    agree('a cross-encoder', [ scores($endpoint) ], [ run_tool(join('', map { "$query\0$_\0" } @documents), 'build/rank-reference', $model) ]);
    finish $daemon;
}

# A model that is neither.
{
    my $said = '';
    run [ 'build/steadytextd', '--endpoint', "ipc://$folder/none", '--reranker-model', "$models/all-minilm-l6-v2.gguf" ], '<', \undef, '>&', \$said, timeout($patience);
    is($? >> 8, 3, 'an embedder is no reranker');
    like($said, qr/is not a reranker/, 'and says so');
}

done_testing;
