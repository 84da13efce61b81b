# A daemon that sends whole messages that nobody asked for, faster than they can be read: long numbers, little messages, messages of millions of parts.
# The gateway takes a little of it in a turn, so calls at other daemons are answered and the server stops; then it shuts the daemon out.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use SteadyText::Cluster;
use SteadyText::Zmtp;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'no /proc/self/statm' unless -r '/proc/self/statm';
my $megabyte = 1 << 20;
my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
my $port     = $listener->sockport;
my $number   = '1.00000000000000011102230246251565404236316680908203125,';
my %floods   = (
    numbers => frame('', 1) . frame('{"a":[' . $number x (15.9 * $megabyte / length $number) . '1]}'),
    little  => join('', map { frame('', 1) . frame('{"id": "control-7"}') } 1 .. 20_000),
    parts   => frame('', 1) x 3_000_000 . frame('{}'));
my @kinds = qw(numbers little parts numbers);    # of the first connection, the second, ...; then the last

# A line for each connection: its kind.
pipe my $told, my $tell or die "pipe: $!";
my $liar = fork // die "fork: $!";
if ($liar == 0) {
    close $told;
    local $SIG{PIPE} = 'IGNORE';
    my $until = time + 400;
    my $n = 0;
    while (time < $until) {
        my $gateway = $listener->accept or next;
        greet($gateway, 'ROUTER') or next;
        my $kind = $kinds[ $n < @kinds ? $n : -1 ];
        $n++;
        syswrite $tell, "$kind\n";
        1 while time < $until && SteadyText::Zmtp::send_all($gateway, $floods{$kind});
        close $gateway;
    }
    POSIX::_exit(0);
}
close $tell;
END { my $status = $?; kill 'KILL', $liar if $liar; waitpid $liar, 0 if $liar; $? = $status }

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", "steadytext.payload_memory = '4MB'", "steadytext.cache_enabled = off" ]);
my $honest  = $cluster->sql('SHOW steadytext.daemons');
my $gateway = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway'));
my $page    = POSIX::sysconf(POSIX::_SC_PAGESIZE());
sub own_megabytes { open my $file, '<', "/proc/$gateway/statm" or return 0; my (undef, $resident, $shared) = split ' ', <$file>; return ($resident - $shared) * $page / $megabyte }
sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ] }

my $session = $cluster->session;
my ($calls, $right, $largest) = (0, 0, 0);
my $before = own_megabytes();
sub call {
    my $from = time;
    $calls++;
    $right++ if $session->ask("SELECT steadytext_generate('call $calls');") eq "call $calls";
    my $now = own_megabytes();
    $largest = $now if $now > $largest;
    return time - $from;
}
my $alone = median(map { call() } 1 .. 100);
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$honest, tcp://127.0.0.1:$port'; SELECT pg_reload_conf()");

# Three floods, until each has been ended. What counts are calls while the liar is connected.
my @took;
my $told_all = IO::Select->new($told);
my $lines    = sub { return my @all = $cluster->log =~ /daemon "tcp:\/\/127\.0\.0\.1:$port" sends much that nobody asked it for/g };
for my $n (0 .. 2) {
    ok($told_all->can_read(60), "a flood of $kinds[$n]") or last;
    is(scalar(<$told>), "$kinds[$n]\n", 'as it says');
    my $until = time + 60;
    push @took, call() while $lines->() <= $n && time < $until;
    is($lines->(), $n + 1, 'ends with a line in the log');
    is($cluster->sql("SELECT breaker FROM steadytext_daemons WHERE endpoint ~ '$port'"), 'open', 'and an open breaker');
}
is($right, $calls, "all $calls calls are answered meanwhile");
my $beside = @took ? median(@took) : 0;
cmp_ok($beside, '<', 100 * $alone + 0.2, sprintf 'half of them within %.1f ms, and %.1f ms alone', 1000 * $beside, 1000 * $alone);
cmp_ok($largest - $before, '<', 700, sprintf 'the gateway has %d MB at most, and had %d', $largest, $before);
is($cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway')), $gateway, 'by the same gateway');
unlike($cluster->log, qr/daemon "\Q$honest\E" sends/, 'the log blames no other');

# The server stops while the fourth flood is under way.
ok($told_all->can_read(60), 'it comes again');
$session->finish;
my $from = time;
$cluster->stop('fast');
cmp_ok(time - $from, '<', 5, sprintf 'a fast stop takes %.2f s', time - $from);
done_testing;
