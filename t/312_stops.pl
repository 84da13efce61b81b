# A call that is left stops steadytextd's slots within 50 ms, by the daemon's own clock: one that streams, and a batch that fills them all.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $slots   = 16;
my $cluster = SteadyText::Cluster->new(daemon => 'native',
    conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10min'", "steadytext.embedded_slots = $slots" ]);
ok($cluster->poll_until('SELECT status FROM steadytext_daemon_status()', 'healthy', 120), 'steadytextd is there');
my $endpoint = 'ipc://' . $cluster->data_dir . '/pg_steadytext/steadytextd.sock';

sub now_ms { return clock_gettime(CLOCK_MONOTONIC) * 1000 }
sub info { return JSON::PP::decode_json($cluster->ask_daemon('info', '{}', $endpoint))->{result} }
sub at_work { my ($count) = @_; return $cluster->wait_for(sub { info()->{slots_in_use} == $count }, 60) }

# The milliseconds from the beginning of what ends a call to idle slots. On a busy machine a signal and its answer wait for a processor
# each, so the best of five must do.
sub stops {
    my ($what, $count, $begin, $end) = @_;
    my @took;
    for my $round (1 .. 5) {
        my ($session, $pid) = $begin->($round);
        ok(at_work($count), "$what: slots at work: $count");
        my $start = now_ms();
        $end->($session, $pid);
        my $info;
        ok($cluster->wait_for(sub { $info = info(); $info->{slots_in_use} == 0 }, 60), "$what: none any more");
        push @took, now_ms() - $info->{idle_ms} - $start;
        eval { $session->finish };
        last if $round >= 3 && grep { $_ <= 50 } @took;
    }
    my ($best) = sort { $a <=> $b } @took;
    cmp_ok($best, '>=', 0, "$what: it was at work before");
    cmp_ok($best, '<=', 50, sprintf '%s: idle %.1f ms later', $what, $best);
    diag(sprintf '%s: slots idle after %s ms', $what, join ', ', map { sprintf '%.1f', $_ } @took);
    return;
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
ok(at_work($slots), 'another batch');
kill 'INT', $pid;
is($cluster->sql($question), $alone, 'the next answer is as it would be without');
is($batch->finish->{state}, '57014', 'the batch was cancelled');

done_testing;
