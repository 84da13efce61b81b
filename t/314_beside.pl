# One small call beside hostile ones: whatever others ask of steadytextd, a call of a few tokens takes four times as long as alone at most,
# or a second and a half. Each kind of hostile call is a line with its figures.
#
# The daemon has one thread, and a peer's calls are all sent before the small call is. How long the small one takes alone is measured before
# and after each kind, for the machine may be busy with other things; and the time in which that thread could have run and other programs had
# the processor is left out. What is given up is given up at once.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish start timeout);
use JSON::PP;
use SteadyText::WireClient;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

$| = 1;
my $slots    = 8;
my $patience = 300;  # seconds; the machine may be busy
my $folder   = tempdir(CLEANUP => 1);
my $endpoint = "ipc://$folder/daemon";
chomp(my $models = `scripts/models --print-dir`);

my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--slots', $slots,
    '--model', "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf" ], '<', \$in, '>&', \$log, timeout(10 * $patience);
$daemon->pump until $log =~ /steadytextd: ready/;
unlike $log, qr/would depend/, 'prompts are processed in pieces, with the bits of whole chunks';

sub slurp {
    my ($path) = @_;
    local $/;
    open my $file, '<', $path or die "$path: $!";
    return scalar <$file>;
}

# ---- clients -----------------------------------------------------------------------------------------------------------------

my $honest = connect_to_daemon($endpoint, $patience);
my $calls  = 0;

# The thread that computes: the one that had most of the processor.
sub engine_thread {
    my %ran;
    for my $file (glob "/proc/$daemon->{KIDS}[0]{PID}/task/*/schedstat") {
        ($ran{$file}) = split ' ', slurp($file);
    }
    return (sort { $ran{$b} <=> $ran{$a} } keys %ran)[0];
}

# Seconds in which it could have run, and waited for the processor.
my $engine;
sub waited_for_processor {
    return defined $engine ? (split ' ', slurp($engine))[1] / 1e9 : 0;
}

sub small_call {
    my ($start, $waited) = (time, waited_for_processor());
    say_to($honest, 'small' . $calls++, 'generate', prompt => 'Say a few words.', max_new_tokens => 4);
    my $reply = reply_to($honest);
    return ($reply->{result}, time - $start - (waited_for_processor() - $waited));
}

sub info { say_to($honest, 'info', 'info'); return reply_to($honest)->{result}; }

sub await_slots_in_use {
    my ($wanted) = @_;
    my $end = time + $patience;
    my $in_use;
    sleep 0.02 while ($in_use = info()->{slots_in_use}) < $wanted->[0] || $in_use > $wanted->[1] and time < $end;
    return $in_use;
}

# The middle one of three, and the answer.
sub typical {
    my (@took, $answer);
    for (1 .. 3) {
        ($answer, my $took) = small_call();
        push @took, $took;
    }
    return ((sort { $a <=> $b } @took)[1], $answer);
}

sub cpu_seconds {
    my $pid = $daemon->{KIDS}[0]{PID};
    my @fields = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //r;
    return ($fields[11] + $fields[12]) / 100;
}

# Seconds until the daemon computes nothing any more.
sub idle_after {
    my $start = time;
    my ($before, $now) = (-1, cpu_seconds());
    while ($now - $before > 0.02 && time - $start < $patience) {
        $before = $now;
        sleep 0.25;
        $now = cpu_seconds();
    }
    return time - $start - 0.25;
}

small_call() for 1 .. 2;
$engine = engine_thread();
my ($alone, $answer) = typical();

# Sends the calls, measures the small one beside them, and cancels what is still at work.
sub beside {
    my ($name, @hostile) = @_;
    my $client = connect_to_daemon($endpoint, $patience);
    say_to($client, "h$_", @{ $hostile[$_] }) for 0 .. $#hostile;
    my $generated = grep { $_->[0] =~ /generate/ } @hostile;
    await_slots_in_use([ $generated < $slots ? $generated : 1, $slots ]) if $generated;
    my ($took, $text) = typical();
    my $still = info()->{slots_in_use};
    say_to($client, "c$_", 'cancel', id => "h$_") for 0 .. $#hostile;
    my %replies;
    until ((grep { /^c/ } keys %replies) == @hostile && (grep { /^h/ } keys %replies) == @hostile) {
        my $reply = reply_to($client);
        next if ref $reply->{result} && exists $reply->{result}{token} && $reply->{result}{token} ne '##STREAM_END##';
        $replies{ $reply->{id} } = $reply->{error} // 'answered';
    }
    my $idle = idle_after();
    finish $client->{process};
    my ($after) = typical();
    my $yardstick = max($alone, $after);
    $alone = $after;
    my %ends;
    $ends{$replies{$_}}++ for grep { /^h/ } keys %replies;
    note(sprintf '%s: %.2f s beside, %.2f s alone: %.1f times; then %s; nothing is computed %.2f s after the cancel',
        $name, $took, $yardstick, $took / $yardstick, join(', ', map { "$ends{$_} x " . substr($_, 0, 60) } sort keys %ends), $idle);
    is $text, $answer, "$name: the small call's answer is the one it has alone";
    cmp_ok $took, '<=', max(1.5, 4 * $yardstick), sprintf '%s: its 4 tokens take %.2f s beside them, %.2f s alone', $name, $took, $yardstick;
    ok $ends{'Request cancelled'}, "$name: they were at work meanwhile";
    cmp_ok $idle, '<=', max(1.5, 4 * $yardstick), "$name: what is cancelled stops";
    return;
}

# ---- kinds of hostile calls --------------------------------------------------------------------------------------------------

my $pattern = "[^\x{12c}-\x{bb8}]{0,250}" x 38;
my @long    = (prompt => 'x', max_new_tokens => 200);

beside('four regexes of many states', map { [ 'generate', @long, regex => $pattern ] } 1 .. 4);
beside('four schemas with patterns of many states',
    map { [ 'generate', @long, schema => { type => 'object', required => ['a'], additionalProperties => JSON::PP::false, properties => { a => { type => 'string', pattern => $pattern } } } ] } 1 .. 4);
beside('four schemas of many members',
    map { my $n = $_; [ 'generate', @long, max_new_tokens => 1000, schema => { type => 'object', additionalProperties => JSON::PP::true, properties => { map { ("p$n$_" => {}) } 1 .. 80 } } ] } 1 .. 4);
beside('six prompts that fill the context, for one token', map { [ 'generate', prompt => 'word ' x 1900, max_new_tokens => 1 ] } 1 .. 6);
beside('thirty prompts of a megabyte', (map { [ 'generate', prompt => 'x' x 1_000_000, max_new_tokens => 1 ] } 1 .. 30),
    [ 'generate', prompt => 'Count to one thousand.', max_new_tokens => 400 ]);
beside('four streams with long stop strings', map { [ 'generate_iter', prompt => 'Repeat the letter a.', max_new_tokens => 200, ack => JSON::PP::false, eos_string => ('a' x 1023) . $_ ] } 1 .. 4);
beside('four embeddings of ten thousand texts each', map { my $n = $_; [ 'embed_batch', texts => [ map { "text $n $_" } 1 .. 10_000 ] ] } 1 .. 4);
beside('two rankings of a thousand long documents', map { my $n = $_; [ 'rerank', query => 'q', documents => [ map { "document $n $_ " . 'word ' x 500 } 1 .. 1000 ] ] } 1 .. 2);

# ---- more calls than slots -----------------------------------------------------------------------------------------------------

{
    my $client = connect_to_daemon($endpoint, $patience);
    my $many   = 4 * $slots;
    say_to($client, "h$_", 'generate', prompt => "Tell story $_.", max_new_tokens => 24) for 1 .. $many;
    await_slots_in_use([ $slots, $slots ]);
    my ($text, $took) = small_call();
    my $left = 0;
    say_to($client, "c$_", 'cancel', id => "h$_") for 1 .. $many;
    for (1 .. 2 * $many) {
        my $reply = reply_to($client);
        $left++ if ($reply->{error} // '') eq 'Request cancelled';
    }
    finish $client->{process};
    is $text, $answer, 'another peer has its answer beside four times as many calls as there are slots';
    cmp_ok $left, '>=', $many - 2 * $slots, sprintf 'as soon as a slot is free, in %.2f s: %d of %d calls were answered before it', $took, $many - $left, $many;
}

# ---- what its client does not wait for any more ------------------------------------------------------------------------------------

{
    my $client = connect_to_daemon($endpoint, $patience);
    say_to($client, "h$_", 'generate', @long, regex => $pattern, timeout_ms => 1500) for 1 .. 4;
    is reply_to($client)->{error}, 'Deadline exceeded', 'a call ends when its time is over' for 1 .. 4;
    my $idle = idle_after();
    finish $client->{process};
    cmp_ok $idle, '<=', max(1.5, 4 * $alone), sprintf 'and nothing is computed for it any more, %.2f s later', $idle;
}

finish $honest->{process};
$daemon->signal('TERM');
finish $daemon;
is $daemon->result(0), 0, 'the daemon ends when asked to';
done_testing;
