# Requests in the background: steadytextd answers the others first, whatever the background has at work, with the same bytes on both sides;
# and the background is not put off for ever.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish run start timeout);
use SteadyText::WireClient;
use Test::More;
use Time::HiRes qw(sleep time);

my $patience = 600;  # seconds; the machine may be busy
my $slots    = 4;
my $folder   = tempdir(CLEANUP => 1);
my $endpoint = "ipc://$folder/daemon";
chomp(my $models = `scripts/models --print-dir`);

my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--slots', $slots, '--context', 512,
    '--model', "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf" ], '<', \$in, '>&', \$log, timeout($patience);
$daemon->pump until $log =~ /steadytextd: ready/ || !$daemon->pumpable;

my $session = connect_to_daemon($endpoint, $patience, timeout($patience));
sub info { say_to($session, 'info', 'info'); return reply_to($session)->{result}; }
ok scalar(grep { $_ eq 'priority' } @{ info()->{capabilities} }), 'the daemon says that it knows of the background';

my @words = do { open my $file, '<', 'demo/sentences.txt' or die $!; split ' ', join ' ', <$file> };
my $tokens = 24;
sub prompt { my ($n) = @_; return 'Tell a long story: ' . join ' ', @words[ 12 * $n .. 12 * $n + 11 ]; }
my @background = map { { prompt => prompt($_), max_new_tokens => $tokens } } 0 .. 5;
push @background, { prompt => prompt(6), max_new_tokens => $tokens, regex => '[a-z ]{60,90}' },
    { prompt => prompt(7) . ' sea or land?', max_new_tokens => 8, prefix_bytes => 16, choices => [ 'sea', 'land' ] };
my @others = map { { prompt => prompt(20 + $_), max_new_tokens => 6 } } 0 .. 5;

# Alone, one after the other.
sub alone { my (%params) = @_; say_to($session, 'alone', 'generate', %params); return reply_to($session)->{result}; }
my @expected = map { alone(%$_) } @background;
my @expected_of_others = map { alone(%$_) } @others;

# The background has every slot, and more waits. Others are asked one after the other, then more at once than there are slots, so that the
# background has none.
my $jobs = connect_to_daemon($endpoint, $patience, timeout($patience));
say_to($jobs, $_, 'generate', %{ $background[$_] }, priority => 'background') for 0 .. $#background;
my $end = time + $patience;
sleep 0.02 while info()->{slots_in_use} < $slots && time < $end;
my (@got, @right);
for my $n (0 .. $#others) {
    say_to($session, "one $n", 'generate', %{ $others[$n] });
    my $reply = reply_to($session);
    push @got, $reply->{result};
}
is_deeply \@got, \@expected_of_others, 'beside the background each other request has the answer that it has alone';
say_to($jobs, 'info', 'info');
my %answers;
until (exists $answers{info}) {
    my $reply = reply_to($jobs);
    $answers{ $reply->{id} } = $reply->{error} // $reply->{result};
}
cmp_ok scalar(keys %answers) - 1, '<=', 4, sprintf '%d of them were answered before %d of the background', scalar @others, scalar(keys %answers) - 1;

my $rounds = 0;
until (keys %answers > @background) {
    say_to($session, "many $_", 'generate', %{ $others[ $_ % @others ] }) for 0 .. $slots + 1;
    for (0 .. $slots + 1) {
        my $reply = reply_to($session);
        my ($n) = $reply->{id} =~ /^many (\d+)$/;
        push @right, ($reply->{result} // '') eq $expected_of_others[ $n % @others ];
    }
    say_to($jobs, 'info', 'info');
    while (1) {
        my $reply = reply_to($jobs);
        last if $reply->{id} eq 'info';
        $answers{ $reply->{id} } = $reply->{error} // $reply->{result};
    }
    $rounds++;
    last if time > $end;
}
is scalar(grep { !$_ } @right), 0, sprintf 'more of them at once than there are slots, %d in all: the same answers', scalar @right;
is_deeply [ @answers{ 0 .. $#background } ], \@expected, "meanwhile the background is answered too, in $rounds rounds, with the bytes of before";

# Embeddings and rankings.
my @texts = map { join ' ', @words[ $_ .. $_ + 60 ] } 1 .. 120;
say_to($jobs, 'texts', 'embed_batch', texts => \@texts, priority => 'background');
say_to($jobs, 'ranked', 'rerank', query => 'the sea', documents => \@texts, priority => 'background');
my @vectors;
for my $n (0 .. 4) {
    say_to($session, "embed $n", 'embed_batch', texts => [ $texts[$n] ]);
    push @vectors, reply_to($session)->{result}{embeddings}[0];
}
say_to($jobs, 'ping', 'ping');
is reply_to($jobs)->{id}, 'ping', 'a text to embed is done before the many of the background';
my %replies = map { my $reply = reply_to($jobs); ($reply->{id} => $reply) } 1 .. 2;
is scalar @{ $replies{texts}{result}{embeddings} }, 120, 'which are done after it';
is_deeply [ @{ $replies{texts}{result}{embeddings} }[ 0 .. 4 ] ], \@vectors, 'with the same vectors';
is scalar @{ $replies{ranked}{result} }, 120, 'and the ranking';

say_to($session, 'wrong', 'generate', prompt => 'x', priority => 'urgent');
like reply_to($session)->{error}, qr/priority must be interactive or background/, 'there are two classes';

finish $_->{process} for $session, $jobs;
$daemon->signal('TERM');
finish $daemon;
is $daemon->result(0), 0, 'the daemon ends when asked to';
done_testing;
