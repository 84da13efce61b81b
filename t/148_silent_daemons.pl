# A daemon that connects, answers pings of the connection and nothing else: beside a daemon that answers it gets no call. Alone it gets them, as it may be
# a daemon that is busy with the requests of others.
use strict;
use warnings;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use SteadyText::Cluster;
use SteadyText::Zmtp;
use Test::More;

my $json     = JSON::PP->new->utf8;
my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
my $silent   = 'tcp://127.0.0.1:' . $listener->sockport;

# A line for each message: the method.
pipe my $told, my $tell or die "pipe: $!";
my $listens = fork // die "fork: $!";
if ($listens == 0) {
    close $told;
    my $until = time + 240;
    while (time < $until) {
        my $gateway = $listener->accept or next;
        next if fork // die "fork: $!";
        greet($gateway, 'ROUTER') or POSIX::_exit(1);
        while (defined(my $message = read_message($gateway, 240))) { syswrite $tell, $json->decode($message)->{method} . "\n" }
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}
close $tell;
END { my $status = $?; kill 'KILL', $listens if $listens; waitpid $listens, 0 if $listens; $? = $status }
$told->blocking(0);
my %heard;
sub heard { my ($method) = @_; while (defined(my $line = <$told>)) { chomp $line; $heard{$line}++ } return $heard{$method} // 0 }

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'steadytext.cache_enabled = off' ]);
my $honest  = $cluster->sql('SHOW steadytext.daemons');
$cluster->append_conf("steadytext.daemons = '$honest, $silent'");
$cluster->reload;
ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$silent'", 'ready'), 'something is connected');
ok($cluster->wait_for(sub { heard('info') }), 'and is asked what it is');
my ($calls, $right) = (0, 0);
ok($cluster->wait_for(sub {
    $calls++;
    $right++ if $cluster->try_sql("SELECT steadytext_generate('call $calls')")->{out} eq "call $calls";
    return heard('info') >= 2;
}, 60), 'it is asked again');
is($right, $calls, "meanwhile $calls calls are answered");
is(heard('generate'), 0, 'none of them was sent to what has answered nothing');

$cluster->append_conf("steadytext.daemons = '$silent'");
$cluster->reload;
ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 1), 'nothing else is there');
my $waiting = $cluster->session->send("SET steadytext.request_timeout = '2s'; SELECT steadytext_generate('is anybody there?')");
ok($cluster->wait_for(sub { heard('generate') }), 'then it is sent a call');
$cluster->append_conf("steadytext.daemons = '$honest'");
$cluster->reload;
$waiting->finish;
is($cluster->sql(q(SELECT steadytext_generate('after'))), 'after', 'the other daemon answers again');
done_testing;
