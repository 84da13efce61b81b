# Texts of a megabyte, of which tokens are made for a second: other texts to embed and to count are not delayed by them at steadytextd, and have
# the vectors that they have alone. No test looks at the clock: it is counted how many long texts were answered while the first short text waited: in line behind them it would be all.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(start finish timeout);
use JSON::PP;
use SteadyText::WireClient;
use Test::More;
use Time::HiRes qw(time);

my $patience = 600;  # seconds; the machine may be busy
my ($long, $short) = (32, 20);
my $folder   = tempdir(CLEANUP => 1);
my $json     = JSON::PP->new->utf8->canonical->allow_nonref;
my $endpoint = "ipc://$folder/daemon";
chomp(my $models = `scripts/models --print-dir`);

my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--embedding-overflow', 'error',
    '--model', "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf" ], '<', \$in, '>&', \$log, timeout($patience);
$daemon->pump until $log =~ /steadytextd: ready/ || !$daemon->pumpable;

my $honest = connect_to_daemon($endpoint, $patience, timeout($patience));
my @words = do { open my $file, '<', 'demo/sentences.txt' or die $!; split ' ', join ' ', <$file> };
my @texts = map { join ' ', @words[ $_ .. $_ + 7 ] } 1 .. $short;
my $megabyte = substr join(' ', (@words) x (1 + 1_000_000 / length join ' ', @words)), 0, 1_000_000;
my %ask = (
    'embeddings' => sub { my ($id, $text) = @_; return { id => $id, method => 'embed_batch', params => { texts => [$text] } } },
    'counts of tokens' => sub { my ($id, $text) = @_; return { id => $id, method => 'count_tokens', params => { text => $text } } },
);
sub answer { my ($ask, $text) = @_; my $request = $ask->('short', $text); say_to($honest, 'short', $request->{method}, %{ $request->{params} }); return reply_to($honest) }

# Long texts of another client, written to a file first, so that they are sent at once.
sub send_long {
    my ($ask) = @_;
    open my $requests, '>', "$folder/requests" or die $!;
    print {$requests} $json->encode($ask->("long $_", $megabyte . $_)), "\n" for 1 .. $long;
    print {$requests} "<$long\n";
    close $requests or die $!;
    my $other = start [ 'build/wire-client', $endpoint, $patience * 1000 ], '<', "$folder/requests", '>', "$folder/replies", timeout($patience);
    select undef, undef, undef, 0.01 until arrived() > 0;
    return $other;
}
sub arrived { open my $replies, '<', "$folder/replies" or return 0; my @lines = <$replies>; return scalar @lines }

for my $what (sort keys %ask) {
    my $ask   = $ask{$what};
    my @alone = map { answer($ask, $_) } @texts;
    my $other = send_long($ask);
    my $before = arrived();
    my @beside = answer($ask, $texts[0]);
    my $meanwhile = arrived() - $before;
    push @beside, map { answer($ask, $_) } @texts[ 1 .. $#texts ];
    is_deeply \@beside, \@alone, "$what: beside long texts $short short ones have the answers that they have alone";
    cmp_ok $meanwhile, '<=', ($long - $before) / 2, "  and the first does not wait for them: of $long $before were answered before, $meanwhile meanwhile";
    finish $other;
    open my $file, '<', "$folder/replies" or die $!;
    my @replies = map { $json->decode($_) } <$file>;
    is scalar(grep { $what eq 'embeddings' ? $_->{error} !~ /beyond the model's window/ : !$_->{result}{tokens} } @replies), 0, '  each long text has its answer';
}

# A text of a hundred kilobytes is not behind those that are ten times as long, though one of them has begun.
my $other  = send_long($ask{'counts of tokens'});
my $before = arrived();
is answer($ask{'counts of tokens'}, substr $megabyte, 0, 100_000)->{error}, undef, 'a text between the two';
my $meanwhile = arrived() - $before;
cmp_ok $meanwhile, '<=', 2, "waits for none of the long ones, beside which it has a thread of its own: $meanwhile were answered meanwhile";
finish $other;

# Seconds of the processor that the daemon has had.
sub state_of_daemon { open my $file, '<', "/proc/$daemon->{KIDS}[0]{PID}/stat" or return 'X'; return split ' ', <$file> =~ s/.*\)//r }
sub ran { my @fields = state_of_daemon(); return ($fields[11] + $fields[12]) / 100 }
sub has_ended { my ($state) = state_of_daemon(); return $state =~ /[ZX]/ }

# Nothing of it can be interrupted: a count of a word of twelve megabytes takes longer than a stop may.
say_to($honest, 'huge', 'count_tokens', text => 'a' x 12_000_000);
my $counting = ran() + 2;  # more than reading it takes
$honest->{process}->pump_nb, select undef, undef, undef, 0.01 until ran() > $counting;
my $began = time;
$daemon->signal('TERM');
select undef, undef, undef, 0.01 until has_ended();    # finish() would close its standard input, which ends it too
my $took = time - $began;
finish $daemon;
is $daemon->result(0), 0, 'the daemon ends when asked to';
cmp_ok $took, '<', 5, sprintf '  within a second or so: %.2f s', $took;
$honest->{process}->kill_kill;
done_testing;
