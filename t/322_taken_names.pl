# A client of steadytextd that claims the name of another: it gets nobody's answer, stops nobody's request, and the daemon lives on. ROUTER sockets name
# clients that name themselves nothing by a counter; a client may claim such a name before or after it is given.
use strict;
use warnings;
use IO::Socket::INET;
use IPC::Run qw(start timeout);
use JSON::PP;
use SteadyText::Zmtp;
use Test::More;

my $json = JSON::PP->new->utf8->canonical;
chomp(my $models = `scripts/models --print-dir`);
my $patience = 120;
my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', 'tcp://127.0.0.1:*', '--exit-on-stdin-eof', '--threads', 1, '--model', "$models/smollm2-135m-instruct-q4_1.gguf" ],
    '<', \$in, '>&', \$log, timeout(10 * $patience);
$daemon->pump until $log =~ /steadytextd: ready/;
my ($port) = $log =~ /listening on tcp:\/\/127\.0\.0\.1:(\d+)/ or BAIL_OUT("no port: $log");

sub client {
    my ($name) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!";
    greet($socket, 'DEALER', $name) or die 'no greeting';
    return $socket;
}

sub ask { my ($socket, $id, $method, %params) = @_; return send_message($socket, $json->encode({ id => $id, method => $method, params => \%params })) }
sub reply { my ($socket) = @_; my $text = read_message($socket, $patience) // return {}; return $json->decode($text) }

# Where the counter begins if nobody seeds it, and where another process that was seeded in the same way would have it.
my @guessed = map { pack 'Ca*', 0, pack 'N', 0x6b8b4567 + $_ } 0 .. 29;
my %victims = (nameless => '', named => 'the-gateway');
my %clients = map { $_ => client($victims{$_}) } sort keys %victims;
for my $name (sort keys %clients) {
    ask($clients{$name}, "first of $name", 'ping');
    is(reply($clients{$name})->{result}, 'pong', "a $name client is served");
    ask($clients{$name}, "secret of $name", 'generate', prompt => "Tell a long story about $name.", max_new_tokens => 150);
}
my @thieves = map { client($_) } @guessed, ($victims{named}) x 3;
send_message($_, $json->encode({ id => 'theft', method => 'cancel', params => { id => 'secret of named' } })) for @thieves[ -3 .. -1 ];
my @victims = map { $clients{$_} } sort keys %clients;
my %came = gather($patience, sub { my ($messages) = @_; return !grep { !$messages->{$_} } @victims }, @victims, @thieves);
for my $name (sort keys %clients) {
    my ($first) = @{ $came{ $clients{$name} } // [] };
    my $reply = $json->decode($first // '{}');
    is($reply->{id}, "secret of $name", "the $name client gets its answer");
    ok(length($reply->{result} // ''), 'whole');
}
my %later = gather(1, sub { 0 }, @thieves);
is(scalar(grep { /secret/ } map { @{ $came{$_} // [] }, @{ $later{$_} // [] } } @thieves), 0, 'others get nothing of it');

# Names that the counter is to give later are taken: libzmq's assertion would end the daemon.
my @later = map { client('') } 1 .. 40;
ask($later[$_], "later $_", 'ping') for 0 .. $#later;
is(scalar(grep { (reply($_)->{result} // '') eq 'pong' } @later), scalar @later, 'forty later clients are served');

# A client that is gone leaves its name to the next that claims it, with nothing of its own.
my $gone = client('of one that goes');
ask($gone, 'left behind', 'ping');
is(reply($gone)->{result}, 'pong', 'a client goes');
close $gone;
my $heir;
for (1 .. 50) {
    $heir = client('of one that goes');
    ask($heir, 'of the heir', 'ping');
    last if defined read_message($heir, 0.2);
    undef $heir;
}
ok($heir, 'and its name can be had again');
$in = '';
$daemon->kill_kill;
like($log, qr/ready/, 'the daemon lived until it was ended');
unlike($log, qr/Assertion/, 'with no assertion');
done_testing;
