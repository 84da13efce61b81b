# A text of a request is never control: whatever special token of the model it spells, it is tokenized as text, wherever a request has text.
#
# A special token is one token; its text, read as text, is several: the engine's count of a prompt's tokens tells which of the two it was.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IPC::Run qw(finish run start timeout);
use JSON::PP;
use Test::More;

my $times    = 5;    # a text beside itself, so that no token before or after it hides the difference
my $patience = 600;  # seconds; the machine may be busy

my $folder = tempdir(CLEANUP => 1);
my $json   = JSON::PP->new->utf8->allow_nonref;
chomp(my $models = `scripts/models --print-dir`);
my $model           = "$models/smollm2-135m-instruct-q4_1.gguf";
my $embedding_model = "$models/all-minilm-l6-v2.gguf";

sub special_texts {
    my ($of) = @_;
    open my $texts, '-|:encoding(UTF-8)', 'build/special-tokens', $of or die $!;
    local $/ = "\0";
    return map { chomp; $_ } <$texts>;
}

# The little generator also ranks: it is asked yes or no.
my $endpoint = "ipc://$folder/daemon";
my ($input, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', $endpoint, '--exit-on-stdin-eof', '--threads', 1, '--slots', 2, '--model', $model,
                     '--embedding-model', $embedding_model, '--reranker-model', $model ], '<', \$input, '>&', \$log, timeout($patience);
$daemon->pump until $log =~ /steadytextd: ready/;

# The replies to requests, in their order.
sub ask {
    my @requests = @_;
    my $sent = join('', map { $json->encode({ id => $_, method => $requests[$_][0], params => $requests[$_][1] }) . "\n" } 0 .. $#requests);
    $sent .= '<' . @requests . "\n";
    my $received = '';
    run [ 'build/wire-client', $endpoint, $patience * 1000 ], '<', \$sent, '>', \$received, timeout($patience) or die 'no reply';
    my %replies = map { my $reply = $json->decode($_); ($reply->{id} => $reply) } split /\n/, $received;
    return map { $replies{$_} } 0 .. $#requests;
}

sub tokens { return map { $_->{usage}{prompt_tokens} // $_->{result}{prompt_tokens} } ask(@_); }

# Tokens of each text where requests have one, beyond those of the letter a.
sub tokens_in {
    my ($request, @texts) = @_;
    my ($letter, @counts) = tokens(map { $request->($_) } 'a', @texts);
    return map { $_ - $letter } @counts;
}

sub prompt { return [ generate => { prompt => $_[0], max_new_tokens => 1, return_usage => JSON::PP::true } ]; }
sub text   { return [ embed => { text_input => $_[0], return_usage => JSON::PP::true } ]; }

# Each alone, in a prompt and in a text to embed.
for ([ prompt => \&prompt, $model ], [ text => \&text, $embedding_model ]) {
    my ($place, $request, $of) = @$_;
    my @special = special_texts($of);
    my @counts  = tokens_in($request, map { $_ x $times } @special);
    cmp_ok scalar @special, '>', 4, "the $place is tried with special tokens";
    is_deeply [ map { $special[$_] } grep { $counts[$_] < $times } 0 .. $#special ], [], "none is parsed in a $place";
}

# All of them at once where else a request has text: as many tokens as in a prompt.
my @special = special_texts($model);
my %others  = (
    choice      => sub { [ generate => { prompt => 'Which?', choices => [ 'no', $_[0] ], return_usage => JSON::PP::true } ] },
    schema      => sub { [ generate => { prompt => 'Which?', schema => { enum => [ 1, $_[0] ] }, return_usage => JSON::PP::true } ] },
    pattern     => sub { [ generate => { prompt => 'Which?', regex => "no|$_[0]", return_usage => JSON::PP::true } ] },
    query       => sub { [ rerank => { query => $_[0], documents => ['a'], return_usage => JSON::PP::true } ] },
    document    => sub { [ rerank => { query => 'a', documents => [ $_[0] ], return_usage => JSON::PP::true } ] },
    instruction => sub { [ rerank => { query => 'a', documents => ['a'], task => $_[0], return_usage => JSON::PP::true } ] },
);
for my $place (sort keys %others) {
    my $all = join ' ', 'a', grep({ $place ne 'pattern' || !/\|/ } @special), 'a';
    is_deeply [ tokens_in($others{$place}, $all) ], [ tokens_in(\&prompt, $all) ], "none is parsed in a $place";
}

# What the answer must be may be such a text too: it is written as text.
my @choices = ask(map { [ generate => { prompt => 'Say it.', choices => [$_] } ] } @special);
is_deeply [ map { $_->{result} } @choices ], \@special, 'every one can be a choice';
my @constants = ask(map { [ generate => { prompt => 'Say it.', schema => { const => $_ } } ] } @special);
is_deeply [ map { $json->decode($_->{result}) } @constants ], \@special, 'and in JSON';

$daemon->signal('TERM');
finish $daemon;
done_testing;
