# steadytextd's greedy tokens are llama.cpp's own, byte for byte: alone, and while 15 other requests join and leave the batch.
#
# Twenty prompts of very different lengths, 128 new tokens each, against a program that is nothing but llama.cpp's API.
use strict;
use warnings;
use IPC::Run ();
use JSON::PP;
use Test::More;
use File::Temp qw(tempdir);

my $folder = tempdir(CLEANUP => 1);
chomp(my $models = `scripts/models --print-dir`);
my $model    = "$models/smollm2-135m-instruct-q4_1.gguf";
my $endpoint = "ipc://$folder/daemon.sock";
my $json     = JSON::PP->new->utf8->canonical;
my $tokens   = 128;

my @words = do { open my $file, '<', 'demo/sentences.txt' or die $!; split ' ', join ' ', <$file> };
my @lengths = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 80, 110, 150, 200, 240, 270, 300, 320, 340, 350);
srand 20;
my @prompts = map { my $n = $_; my $at = int rand(@words - $n); join ' ', 'Explain:', @words[$at .. $at + $n - 1] } @lengths;

sub request {
    my ($id, $prompt, $limit, %more) = @_;
    return $json->encode({ method => 'generate', id => "$id", params => { prompt => $prompt, max_new_tokens => $limit, %more } });
}

sub trimmed { my ($text) = @_; $text =~ s/^\s+|\s+$//g; return $text }

my ($input, $log) = ('', '');
my $daemon = IPC::Run::start([ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--model', $model ],
    '<', \$input, '>&', \$log);
$daemon->pump until $log =~ /steadytextd: ready/;

my $reference;
IPC::Run::run([ 'build/greedy-reference', $model, $tokens ], '<', \join('', map { "$_\0" } @prompts), '>', \$reference)
    or BAIL_OUT('no reference');
my @expected = map { trimmed($_) } split /\0/, $reference, -1;
pop @expected;
is(scalar @expected, 20, 'llama.cpp answers twenty prompts');

# The texts of all prompts, asked so many at a time.
sub ask_all {
    my ($at_a_time, $while) = @_;
    my @requests = map { request($_, $prompts[$_], $tokens) . "\n" } 0 .. $#prompts;
    my $script = join '', splice(@requests, 0, $at_a_time), (map { "<\n$_" } @requests), "<\n" x $at_a_time;
    my $replies = '';
    my $client = IPC::Run::start([ 'build/wire-client', $endpoint, 300000 ], '<', \$script, '>', \$replies);
    $while->() if $while;
    $client->finish;
    my %text = map { $_->{id} => trimmed($_->{result}) } map { $json->decode($_) } split /\n/, $replies;
    return @text{ 0 .. $#prompts };
}

sub is_all {
    my ($got, $what) = @_;
    my @different = grep { ($got->[$_] // '') ne $expected[$_] } 0 .. $#expected;
    is(scalar @different, 0, "$what: every answer equals llama.cpp's own, byte for byte")
        or diag map { "prompt of $lengths[$_] words:\n  got  $got->[$_]\n  want $expected[$_]\n" } @different;
    return;
}

is_all([ ask_all(1) ], 'alone');

# The crowd: whenever a request ends another joins, of random length and temperature, and now and then one is cancelled before
# its time. Five of the twenty are in it at a time, so each has fifteen others about it.
my $others_in_flight = 11;
my $crowd = '';
for my $number (1 .. 4000) {
    my $prompt = join ' ', map { $words[ rand @words ] } 1 .. (2, 5, 20, 60)[ rand 4 ];
    $crowd .= request("crowd-$number", $prompt, 1 + int rand 40, temperature => int rand 2) . "\n";
    $crowd .= qq({"method": "cancel", "id": "cancel", "params": {"id": "crowd-@{[ $number - int rand 10 ]}"}}\n<\n) if rand() < 0.1;
    $crowd .= "<\n" if $number > $others_in_flight;
}
# Through files, so that the crowd needs nobody to pump it.
open my $file, '>', "$folder/crowd" or die $!;
print {$file} $crowd;
close $file;
my $others;
my @in_crowd = ask_all(5, sub { $others = IPC::Run::start([ 'build/wire-client', $endpoint, 300000 ], '<', "$folder/crowd", '>', "$folder/replies") });
$others->kill_kill;
my $crowd_replies = do { local $/; open my $replies, '<', "$folder/replies" or die $!; <$replies> };
is_all(\@in_crowd, 'in a crowd');
my $served = () = $crowd_replies =~ /"error": null/g;
cmp_ok($served, '>', 50, "while $served others came and went");

$daemon->signal('TERM');
ok($daemon->finish, 'the daemon ends when asked to');

done_testing;
