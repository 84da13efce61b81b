# steadytextd's greedy tokens are llama.cpp's own, byte for byte: alone, and while 15 other requests join and leave the batch.
#
# Twenty prompts of very different lengths, 128 new tokens each, against a program that is nothing but llama.cpp's API. One thread
# each: the tokens do not depend on it, and nothing waits for another.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish start timeout);
use JSON::PP;
use List::Util qw(shuffle);
use Test::More;

my $tokens   = 128;
my $slots    = 16;
my $together = 10;   # of the twenty in the crowd at a time
my $patience = 1500;  # seconds; the machine may be busy

my $folder = tempdir(CLEANUP => 1);
my $json   = JSON::PP->new->utf8->canonical;
chomp(my $models = `scripts/models --print-dir`);
my $model    = "$models/smollm2-135m-instruct-q4_1.gguf";
my $endpoint = "ipc://$folder/daemon";

srand 20;
my @words   = do { open my $file, '<', 'demo/sentences.txt' or die $!; split ' ', join ' ', <$file> };
my @lengths = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 80, 110, 150, 200, 240, 270, 300, 320, 340, 350);
sub excerpt { my ($length) = @_; my $at = int rand(@words - $length); return join ' ', @words[ $at .. $at + $length - 1 ]; }
my @prompts = map { 'Explain: ' . excerpt($_) } @lengths;

sub trimmed { my ($text) = @_; return $text =~ s/^\s+|\s+$//gr; }

# ---- llama.cpp itself, and steadytextd --------------------------------------------------------------------------------

# By files, so that it needs nobody to pump it and computes beside the daemon.
open my $asked, '>', "$folder/prompts" or die $!;
print {$asked} map { "$_\0" } @prompts;
close $asked;
my $reference = start [ 'build/greedy-reference', $model, $tokens ], '<', "$folder/prompts", '>', "$folder/answers", timeout($patience);

my ($input, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--slots', $slots, '--model', $model ],
    '<', \$input, '>&', \$log, timeout($patience);
$daemon->pump until $log =~ /steadytextd: ready/;

my ($requests, $replies) = ('', '');
my $client = start [ 'build/wire-client', $endpoint, $patience * 1000 ], '<', \$requests, '>', \$replies;

sub ask {
    my ($id, $prompt, $limit, %more) = @_;
    $requests .= $json->encode({ method => 'generate', id => "$id", params => { prompt => $prompt, max_new_tokens => $limit, %more } }) . "\n";
    return;
}

sub next_reply {
    $requests .= "<\n";
    $client->pump until $replies =~ s/^(.*)\n//;
    return $json->decode($1);
}

# ---- alone, then in a crowd -------------------------------------------------------------------------------------------

sub ask_alone {
    return map { ask($_, $prompts[$_], $tokens); trimmed(next_reply()->{result}) } 0 .. $#prompts;
}

# As many requests in flight as there are slots: some of the twenty and a crowd of random lengths, limits and temperatures, some of it
# cancelled before its time. Whenever one leaves another joins, until the twenty have their answers.
sub ask_in_crowd {
    my ($left) = @_;
    my @to_ask = shuffle 0 .. $#prompts;
    my (%in_flight, %answers);
    my $joined = 0;
    my $join   = sub {
        # Seldom two at once: each of the twenty shall meet the others at another step.
        my $one_of_twenty = @to_ask && rand() < 0.5 && $together > grep { /^\d/ } keys %in_flight;
        my $id            = $one_of_twenty ? shift @to_ask : 'crowd-' . $joined++;
        $in_flight{$id} = 1;
        return ask($id, $prompts[$id], $tokens) if $one_of_twenty;
        return ask($id, excerpt((2, 5, 10, 40)[ rand 4 ]), 1 + int rand 40, temperature => int rand 2);
    };
    my $leave = sub {
        my $reply = next_reply();
        my $id    = $reply->{id};
        $answers{$id} = trimmed($reply->{result}) if $id =~ /^\d/;
        $left->{ $reply->{error} // 'answered' }++ if delete $in_flight{$id};
        return $id;
    };
    while (keys %answers < @prompts) {
        $join->() while keys %in_flight < $slots;
        $leave->();
        my ($victim) = rand() < 0.1 ? shuffle grep { /crowd/ } keys %in_flight : ();
        next unless defined $victim;
        $requests .= $json->encode({ method => 'cancel', id => 'cancel', params => { id => $victim } }) . "\n";
        1 until $leave->() eq 'cancel';
    }
    return @answers{ 0 .. $#prompts };
}

my @alone = ask_alone();
my %left;
my @in_crowd = ask_in_crowd(\%left);

finish $reference or BAIL_OUT('no reference');
my @expected = do { local $/ = "\0"; open my $file, '<:encoding(UTF-8)', "$folder/answers" or die $!; map { chomp; trimmed($_) } <$file> };
is scalar @expected, scalar @prompts, 'llama.cpp answers every prompt';
is scalar(keys %{ { map { $_ => 1 } @expected } }), scalar @prompts, 'each otherwise';

for my $number (0 .. $#prompts) {
    is $alone[$number],    $expected[$number], "$lengths[$number] words, alone";
    is $in_crowd[$number], $expected[$number], "$lengths[$number] words, in a crowd";
}
cmp_ok $left{answered} - @prompts, '>', 50, "$left{answered} requests came and were answered meanwhile";
cmp_ok $left{'Request cancelled'}, '>', 0, "and $left{'Request cancelled'} were cancelled";

finish $client;
$daemon->signal('TERM');
finish $daemon;
is $daemon->result(0), 0, 'the daemon ends when asked to';

done_testing;
