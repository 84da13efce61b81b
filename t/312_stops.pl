# A call that is left stops steadytextd's slots within 50 ms, by the daemon's own clock: one that streams, and a batch that fills them all.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Stops;
use Test::More;

my $slots   = 16;
my $cluster = SteadyText::Cluster->new(daemon => 'native',
    conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10min'", "steadytext.embedded_slots = $slots" ]);
ok($cluster->poll_until('SELECT status FROM steadytext_daemon_status()', 'healthy', 120), 'steadytextd is there');
my $endpoint = 'ipc://' . $cluster->data_dir . '/pg_steadytext/steadytextd.sock';

sub info { return JSON::PP::decode_json($cluster->ask_daemon('info', '{}', $endpoint))->{result} }
sub working { return info()->{slots_in_use} }

sub stops {
    my ($what, $at_once, $begin, $end) = @_;
    return stops_soon($cluster, $what, begin => $begin, at_once => $at_once, working => \&working, end => $end,
        idle_at => sub { my $idle = info()->{idle_ms}; return SteadyText::Stops::now_ms() - $idle });
}

sub begin_stream {
    my $session = $cluster->session;
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask("BEGIN; DECLARE c CURSOR FOR SELECT * FROM steadytext_generate_stream('Tell a story of a thousand pages.', max_tokens => 1500, use_cache => false);");
    $session->ask('FETCH c; FETCH c;');
    return ($session, $pid);
}

sub begin_batch {
    my ($round) = @_;
    my $session = $cluster->session;
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->hand_over("SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'Tell a long story of the number ' || i || ' in $round.'
        FROM generate_series(1, 40) i), max_tokens => 1000, use_cache => false);");
    return ($session, $pid);
}

stops('CLOSE of a stream', 1, \&begin_stream, sub { $_[0]->ask('CLOSE c;') });
stops('a stream whose session ends', 1, \&begin_stream, sub { kill 'TERM', $_[1] });
stops('a batch that is cancelled', $slots, \&begin_batch, sub { kill 'INT', $_[1] });
stops('a batch whose session ends', $slots, \&begin_batch, sub { kill 'TERM', $_[1] });

# What was broken off in the midst of a step has left nothing behind.
my $question = q(SELECT steadytext_generate('Why is the sky blue?', max_tokens => 24, use_cache => false));
my $alone = $cluster->sql($question);
my ($batch, $pid) = begin_batch(4);
ok($cluster->wait_for(sub { working() == $slots }, 60), 'another batch');
kill 'INT', $pid;
is($cluster->sql($question), $alone, 'the next answer is as it would be without');
is($batch->finish->{state}, '57014', 'the batch was cancelled');

done_testing;
