# The build that travels: it finds its kernels beside itself, takes the best for this processor, and says so in the fingerprint. Only where the
# cache has its llama.cpp, for building that takes half an hour: scripts/build-llama --portable
use strict;
use warnings;
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IPC::Run qw(run start timeout);
use JSON::PP ();
use SteadyText::WireClient;
use Test::More;

my $found = `scripts/build-llama --portable --find`;
plan skip_all => 'no portable llama.cpp in the cache; scripts/build-llama --portable builds it, once' if $found !~ /\S/;

my $patience = 300;
my $folder   = tempdir(CLEANUP => 1);
chomp(my $models = `scripts/models --print-dir`);
my @options = ('--threads', 1, '--slots', 4, '--context', 256, '--model', "$models/smollm2-135m-instruct-q4_1.gguf", '--embedding-model', "$models/all-minilm-l6-v2.gguf");
my $log;
run [ 'make', '-s', 'steadytextd', 'PORTABLE=1' ], '>&', \$log or BAIL_OUT("it does not build: $log");

# Away from where it was built, as a package puts it elsewhere.
my $home = "$folder/elsewhere";
run [ 'sh', '-c', "mkdir -p $home/bin $home/lib && cp build/portable/bin/steadytextd $home/bin && cp -rP build/portable/lib/steadytextd $home/lib" ] or die;
my $libraries = "$home/lib/steadytextd";

my $starts = 0;
sub start_daemon {
    my ($program) = @_;
    my %daemon = (in => '', log => '', endpoint => "ipc://$folder/daemon" . $starts++);
    $daemon{process} = start [ $program, '--endpoint', $daemon{endpoint}, '--exit-on-stdin-eof', @options ], '<', \$daemon{in}, '>&', \$daemon{log}, timeout($patience);
    $daemon{process}->pump until $daemon{log} =~ /steadytextd: ready/;
    $daemon{client} = connect_to_daemon($daemon{endpoint}, $patience);
    return \%daemon;
}
my $requests = 0;
sub ask { my ($daemon, $method, @params) = @_; say_to($daemon->{client}, 'request ' . ++$requests, $method, @params); return reply_to($daemon->{client})->{result}; }
sub fingerprint { my ($daemon) = @_; return ask($daemon, 'info')->{models}[0]{fingerprint}; }
sub answers {
    my ($daemon) = @_;
    my @texts = map { ask($daemon, 'generate', prompt => "Tell me about $_.", max_new_tokens => 12) } qw(bread rivers iron);
    return { texts => \@texts, labels => [ map { ask($daemon, 'generate', prompt => "Is $_ an animal?", choices => [ 'yes', 'no' ]) } qw(bread dog iron cat) ],
        vector => ask($daemon, 'embed_batch', texts => ['A man is eating food.'])->{embeddings}[0] };
}
sub distance { my ($one, $other) = @_; my $most = 0; for (0 .. $#$one) { my $d = abs($one->[$_] - $other->[$_]); $most = $d if $d > $most } return $most; }
# The library of kernels that is loaded.
sub kernels { my ($daemon) = @_; my ($pid) = map { $_->{PID} } @{ $daemon->{process}{KIDS} }; open my $maps, '<', "/proc/$pid/maps" or die $!; my %seen = map { /libggml-cpu-(\S+)\.so/ ? ($1 => 1) : () } <$maps>; return join ' ', sort keys %seen; }

my $native   = start_daemon('build/steadytextd');
my $portable = start_daemon("$home/bin/steadytextd");
my $kernels  = kernels($portable);
like $kernels, qr/^\w[\w.]*$/, "one library of kernels is loaded: $kernels";
is kernels($native), '', 'a native build has its own';
isnt fingerprint($portable), fingerprint($native), 'the fingerprint is another one';
my ($there, $here) = (answers($portable), answers($native));
is_deeply $there->{labels}, $here->{labels}, 'labels are the same as of the native build';
cmp_ok distance($there->{vector}, $here->{vector}), '<', 1e-3, 'vectors nearly so, by ' . distance($there->{vector}, $here->{vector});
note 'texts: ', JSON::PP->new->canonical->pretty->encode([ $there->{texts}, $here->{texts} ]);
is_deeply answers($portable), $there, 'the same again';
my $first = fingerprint($portable);
$portable->{process}->kill_kill;

# An older processor has other kernels, and is another thing to the cache.
unlink "$libraries/libggml-cpu-$kernels.so" or die $!;
my $older = start_daemon("$home/bin/steadytextd");
isnt kernels($older), $kernels, 'without it the next best: ' . kernels($older);
isnt fingerprint($older), $first, 'which the fingerprint tells';
is_deeply answers($older)->{labels}, $here->{labels}, 'and answers';
$older->{process}->kill_kill;

unlink glob "$libraries/libggml-cpu-*";
my $said = '';
run [ "$home/bin/steadytextd", '--endpoint', "ipc://$folder/none", @options ], '<', \undef, '>&', \$said, timeout($patience);
is $? >> 8, 3, 'without any it ends';
like $said, qr/there are no kernels for this processor in ".*elsewhere.*"/, 'and says why';
$native->{process}->kill_kill;

done_testing;
