# Interoperation with the original: SQL through the real Python daemon, and the original's own client against steadytextd.
#
# The Python environment is built once, by scripts/python-daemon, in the cache.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use IO::Socket::INET;
use IPC::Run ();

my $root = $SteadyText::Cluster::ROOT;

# ---- our extension, their daemon -----------------------------------------------------------------------------------
{
    my $cluster = SteadyText::Cluster->new(daemon => 'python',
        conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '120s'", "steadytext.pool_wait = '120s'" ]);
    ok($cluster->poll_until('SELECT status FROM steadytext_daemon_status()', 'healthy', 120), 'the Python daemon is healthy');
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_models() WHERE fingerprint LIKE 'serial:%'), 't', 60), 'and known for what it is');
    my $question = q(SELECT steadytext_generate('What is the capital of France?', max_tokens => 24, use_cache => false));
    my $first    = $cluster->sql($question);
    like($first, qr/\w+ \w+/, 'it answers from SQL');
    is($cluster->sql($question), $first, 'and answers the same again');
    like($cluster->sql(q(SELECT fingerprint FROM steadytext_generate_ex('What is the capital of Spain?', '{"max_tokens": 8}'))),
        qr/^serial:/, 'its model has a fingerprint of its kind');
    is($cluster->sql(q(SELECT cached FROM steadytext_generate_ex('What is the capital of Spain?', '{"max_tokens": 8}'))),
        't', 'its answers are cached');

    # Six sessions at a daemon that serves one request at a time: each gets the answer to its own question. Its library reads anew only
    # what a prompt has not in common with the one before, and how much is read at once shows in the last digits; so the questions
    # have nothing in common, and none is asked twice in a row.
    my @questions = map { "$_: say what that is." } qw(Apples Rivers Music Winter Horses Paper);
    my $answer_to = sub { return "SELECT steadytext_generate('$_[0]', max_tokens => 8, use_cache => false)" };
    my @sessions = map { $cluster->session->send($answer_to->($_)) } @questions;
    my @together = map { $_->finish->{out} } @sessions;
    $cluster->sql($question);
    my @alone = map { $cluster->sql($answer_to->($_)) } @questions;
    is_deeply(\@together, \@alone, 'concurrent sessions get their own answers');

    # The original answers zeros when it has no embedding model; no direction is no embedding.
    is($cluster->try_sql(q(SELECT steadytext_embed('no model here', use_cache => false)))->{state}, '55000', 'a zero vector is an error');
    $cluster->discard;
}

# ---- their client, our daemon --------------------------------------------------------------------------------------
{
    chomp(my $models = `$root/scripts/models --print-dir`);
    my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
    my ($in, $log) = ('', '');
    my $daemon = IPC::Run::start(
        [ "$root/build/steadytextd", '--endpoint', "tcp://127.0.0.1:$port", '--exit-on-stdin-eof', '--model',
            "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf" ],
        '<', \$in, '>&', \$log);
    my $script = <<'PYTHON';
import json, sys, time
from steadytext.daemon.client import DaemonClient
client = DaemonClient(host="127.0.0.1", port=int(sys.argv[1]))
assert client.connect()
out = {}
out["generate"] = client.generate("What is the capital of France?", max_new_tokens=24)
out["again"] = client.generate("What is the capital of France?", max_new_tokens=24)
out["stream"] = "".join(client.generate_iter("What is the capital of France?", max_new_tokens=24))
vector = client.embed("A man is eating food.")
out["dimensions"] = len(vector)
out["length"] = float(sum(float(x) * float(x) for x in vector))
print(json.dumps(out))
PYTHON
    local $ENV{STEADYTEXT_DAEMON_TIMEOUT_MS} = 120000;
    my ($out, $err) = ('', '');
    IPC::Run::run([ "$root/scripts/python-daemon", 'python', '-', $port ], '<', \$script, '>', \$out, '2>', \$err, IPC::Run::timeout(300));
    my ($json) = $out =~ /^(\{.*\})$/m;
    ok($json, "the original's client finishes") or diag "$out\n$err\n$log";
    require JSON::PP;
    my $result = $json ? JSON::PP::decode_json($json) : {};
    like($result->{generate} // '', qr/\w+ \w+/, 'it gets an answer from steadytextd');
    is($result->{again}, $result->{generate}, 'and the same again');
    (my $stream = $result->{stream} // '') =~ s/^\s+|\s+$//g;
    is($stream, $result->{generate}, 'a stream, token by token, comes to the same text');
    cmp_ok($result->{dimensions} // 0, '>=', 384, 'an embedding');
    cmp_ok(abs(($result->{length} // 0) - 1), '<', 1e-3, 'of length 1');
    $daemon->signal('TERM');
    $daemon->finish;
}

done_testing;
