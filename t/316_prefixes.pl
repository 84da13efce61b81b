# A prompt that names its prefix has the same answer, byte for byte, whether the prefix was computed for it, is kept from another request, was
# dropped and computed again, or is never kept; alone and beside others. What is kept is shared only within the scope that a request names.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish run start timeout);
use JSON::PP;
use List::Util qw(min shuffle);
use Test::More;

my $patience = 900;  # seconds; the machine may be busy
my $seed     = $ENV{STEADYTEXT_SEED} // 316;
my $requests = $ENV{STEADYTEXT_PREFIX_REQUESTS} // 12;  # of each order
srand $seed;
note "STEADYTEXT_SEED=$seed";

my $folder = tempdir(CLEANUP => 1);
my $json   = JSON::PP->new->utf8->allow_nonref;
my $true   = JSON::PP::true;
chomp(my $models = `scripts/models --print-dir`);
my $model = "$models/smollm2-135m-instruct-q4_1.gguf";

my @words = do { open my $file, '<', 'demo/sentences.txt' or die $!; split ' ', join ' ', <$file> };
sub excerpt { my ($length) = @_; my $at = int rand(@words - $length); return join ' ', @words[ $at .. $at + $length - 1 ]; }

# Three instructions, of which two are short enough to be kept together.
my @prefixes = map { 'Tell what the text is about. For example: ' . excerpt($_) . "\n\nText: " } 4, 4, 12;
my @choices  = ([ 'sea', 'land' ], [ 'yes', 'no', 'perhaps' ]);

# Requests of every kind: free and constrained, with long inputs and with none, and without a prefix.
my @kinds = (
    sub { (prompt => $_[0] . excerpt(6), max_new_tokens => 3) },
    sub { (prompt => $_[0] . excerpt(6), choices => $choices[ rand @choices ], max_new_tokens => 8) },
    sub { (prompt => $_[0], max_new_tokens => 2) },
    sub { (prompt => excerpt(5), prefix_bytes => 0, choices => $choices[0], max_new_tokens => 8) },
    sub { (prompt => excerpt(5), prefix_bytes => undef, max_new_tokens => 3) },
);
my @asked = map {
    my $prefix = $prefixes[ rand @prefixes ];
    my %params = (prefix_bytes => length $prefix, scope => 'one', return_usage => $true, $kinds[ $_ % @kinds ]->($prefix));
    { method => 'generate', id => $_, params => \%params }
} 0 .. $requests - 1;

sub start_daemon {
    my ($name, @options) = @_;
    my ($in, $log) = ('', '');
    my $daemon = start [ 'build/steadytextd', '--endpoint', "ipc://$folder/$name", '--exit-on-stdin-eof', '--threads', 1, '--slots', 16,
                         '--context', 256, '--model', $model, @options ], '<', \$in, '>&', \$log, timeout($patience);
    $daemon->pump until $log =~ /steadytextd: ready/ || !$daemon->pumpable;
    return { process => $daemon, endpoint => "ipc://$folder/$name" };
}

sub end_daemon { my ($daemon) = @_; $daemon->{process}->signal('TERM'); finish $daemon->{process}; return; }

# The replies by id. `$at_once`: how many requests are sent before the first reply is awaited.
sub ask {
    my ($daemon, $at_once, @requests) = @_;
    my ($sent, $open, $received) = ('', 0, '');
    for (@requests) {
        $sent .= "<\n" if $open++ >= $at_once;
        $sent .= $json->encode($_) . "\n";
    }
    $sent .= '<' . ($at_once < @requests ? $at_once : @requests) . "\n";
    run [ 'build/wire-client', $daemon->{endpoint}, $patience * 1000 ], '<', \$sent, '>', \$received, timeout($patience) or die 'no reply';
    return { map { my $reply = $json->decode($_); ($reply->{id} => $reply) } split /\n/, $received };
}

sub answers {
    my ($daemon, $at_once, @requests) = @_;
    my $replies = ask($daemon, $at_once, @requests);
    return { map { my $reply = $replies->{$_}; ($_ => $reply->{error} // [ @{ $reply->{result} }{qw(text prompt_tokens completion_tokens)} ]) } keys %$replies };
}

my $daemon = start_daemon('on', '--prefix-memory', 64);
my ($info) = map { $_->{result} } values %{ ask($daemon, 1, { method => 'info', id => 1, params => {} }) };
ok $info->{determinism}{shares_prefixes}, 'prefixes are shared with this model on this machine';
ok scalar(grep { $_ eq 'prefix_bytes' } @{ $info->{capabilities} }), 'and the daemon says that it knows them';
my $cold = answers($daemon, 16, shuffle @asked);
is scalar(keys %$cold), scalar @asked, 'every request is answered';
is_deeply [ grep { !ref } values %$cold ], [], 'without an error';
is_deeply answers($daemon, 1, shuffle @asked), $cold, 'the same alone, with every prefix kept';

# A request moves to the place of another that ends, also while its own prompt, whose prefix is kept, is still prepared: which is for a moment only, so
# there are many.
my @pairs = map {
    my $at = $_;
    my %quick = (prompt => "Count to $at.", max_new_tokens => 1 + $at % 3, return_usage => $true);
    my %kept  = (prompt => $prefixes[ $at % @prefixes ] . 'the sea', prefix_bytes => length $prefixes[ $at % @prefixes ], scope => 'one', max_new_tokens => 2, return_usage => $true);
    map { { method => 'generate', id => "$at " . ($_->{scope} // ''), params => $_ } } \%quick, \%kept;
} 1 .. $ENV{STEADYTEXT_PREFIX_PAIRS} // 60;
is_deeply answers($daemon, 3, @pairs), answers($daemon, 1, @pairs), 'the same for requests that take the places of others';
end_daemon($daemon);

$daemon = start_daemon('off', '--prefix-memory', 0);
is_deeply answers($daemon, 16, shuffle @asked), $cold, 'the same at once where none is kept';
end_daemon($daemon);

$daemon = start_daemon('evicting', '--prefix-memory', 3);
is_deeply answers($daemon, 4, shuffle @asked), $cold, 'the same where one makes room for another';

# Engine time tells whether a prefix was kept: so it must not tell whether somebody else has asked.
my ($long) = sort { length $b <=> length $a } @prefixes;
sub time_of {
    my ($scope) = @_;
    my %params = (prompt => "$long it", prefix_bytes => length $long, scope => $scope, max_new_tokens => 1, return_usage => $true);
    return ask($daemon, 1, { method => 'generate', id => 1, params => \%params })->{1}{result}{engine_ms};
}
time_of('theirs');
my $kept  = min(map { time_of('theirs') } 1 .. 3);
my $other = min(map { time_of("mine $_") } 1 .. 3);
cmp_ok $kept, '<', $other, 'a kept prefix is faster, and not for another scope';

for ([ -1 => qr/prefix_bytes must be an integer/ ], [ 100 => qr/prefix_bytes must be an integer/ ], [ 1 => qr/must not cut a character/ ]) {
    my ($bytes, $message) = @$_;
    my $reply = ask($daemon, 1, { method => 'generate', id => 1, params => { prompt => "\x{e4}", prefix_bytes => $bytes } })->{1};
    like $reply->{error}, $message, "prefix_bytes $bytes is refused";
}
end_daemon($daemon);
done_testing;
