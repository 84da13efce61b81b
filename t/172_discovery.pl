# A dns+tcp:// entry is every daemon its name leads to, follows changes of the name, and its name server never holds up the others.
#
# The names are those of t/tools/hosts_preload.cpp, preloaded into the server.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use SteadyText::Load;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", 'steadytext.allow_plaintext = on' ]);
my $port    = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.2')->sockport;
my ($hosts, $library) = map { $cluster->run_dir . "/$_" } 'hosts', 'hosts-preload.so';

# By rename, so that nobody reads half of it.
sub names {
    my (%names) = @_;
    open my $file, '>', "$hosts.new" or die "$hosts: $!";
    print {$file} map { "$_ $names{$_}\n" } sort keys %names;
    close $file;
    return rename "$hosts.new", $hosts;
}
sub daemon { my ($n) = @_; return $cluster->start_echo(name => "fleet$n", endpoint => "tcp://127.0.0.$n:$port") }
sub ready  { return $cluster->sql(q(SELECT string_agg(substring(endpoint, '127.0.0.\d'), ' ' ORDER BY endpoint) FROM steadytext_daemons WHERE state = 'ready')) }
sub fleet_is {
    my ($expected, $test) = @_;
    return ok($cluster->wait_for(sub { ready() eq $expected }, 20), $test) || diag $cluster->sql('SELECT endpoint, state, reason FROM steadytext_daemons');
}
sub requests { my ($n) = @_; return $cluster->sql("SELECT coalesce(sum(requests), 0) FROM steadytext_daemons WHERE endpoint LIKE '%127.0.0.$n:%'") }

system('install', '-m', '755', "$SteadyText::Cluster::ROOT/build/hosts-preload.so", $library) == 0 or die 'no hosts-preload.so';
daemon($_) for 2 .. 4;
names('fleet.test' => '127.0.0.2 127.0.0.3');
$cluster->append_conf("steadytext.daemons = 'dns+tcp://fleet.test:$port'");
$cluster->stop;
$cluster->start(within => [ 'env', "LD_PRELOAD=$library", "HOSTS_PRELOAD=$hosts" ]) or die 'the server did not start';

# One name, two daemons, and both work.
{
    fleet_is('127.0.0.2 127.0.0.3', 'the name leads to two daemons');
    my $load = SteadyText::Load->new($cluster, clients => 4, calls => 50);
    $load->join;
    is($load->not_right, '', 'who answer');
    is(requests($_), 100, "127.0.0.$_ has its half") for 2, 3;
}

# The name changes under load: nobody notices.
{
    my $load = SteadyText::Load->new($cluster, clients => 4, head => '!fault:delay=5');
    ok($load->await(100), 'under load');
    names('fleet.test' => '127.0.0.4 127.0.0.3');
    fleet_is('127.0.0.3 127.0.0.4', 'one daemon leaves and another comes');
    ok($load->await(100), 'calls go on');
    is($load->finish, 4, 'no session hangs');
    is($load->not_right, '', $load->calls . ' calls around the change: all right');
    cmp_ok(requests(4), '>', 0, 'the new one has its share');
    is(requests(2), 0, 'the old one is forgotten');
}

# A name server that does not answer: the entry waits for it, and nobody else does; what a name led to is kept.
{
    names('fleet.test' => 'sleep=12', 'slow.test' => 'sleep=12');
    $cluster->append_conf("steadytext.daemons = 'dns+tcp://fleet.test:$port, tcp://slow.test:$port'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT reason FROM steadytext_daemons WHERE endpoint LIKE '%slow.test%'), 'looking up its name'), 'a name is being looked up');
    my $load = SteadyText::Load->new($cluster, clients => 2, calls => 500);
    is($load->join, 2, 'meanwhile');
    is($load->not_right, '', '1,000 calls to the others are answered');
    cmp_ok($load->milliseconds(0.99), '<', 50, 'at once') or diag $load->milliseconds(1);
    is($cluster->sql(q(SELECT reason FROM steadytext_daemons WHERE endpoint LIKE '%slow.test%')), 'looking up its name', 'and it still is');
    ok($cluster->poll_until(q(SELECT reason ~ 'does not resolve' FROM steadytext_daemons WHERE endpoint LIKE '%slow.test%'), 't', 20), 'until it is known not to resolve');
    is(ready(), '127.0.0.3 127.0.0.4', 'the fleet is what it was when its name last led anywhere');
    names('fleet.test' => '127.0.0.2', 'slow.test' => '127.0.0.3');
    ok($cluster->wait_for(sub { ready() =~ /^127\.0\.0\.2(?: |$)/ && ready() !~ /127\.0\.0\.4/ }, 30), 'the name server is back, and the fleet is what it says')
        or diag $cluster->sql('SELECT endpoint, state, reason FROM steadytext_daemons');
    ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons WHERE endpoint LIKE '%slow.test%'), 'ready', 20), 'so is the other daemon');
}

# A name of a hundred addresses leaves room for another entry's daemon, also when that moves.
{
    names('fleet.test' => join(' ', map { "127.0.1.$_" } 1 .. 100), 'other.test' => '127.0.0.2');
    $cluster->append_conf("steadytext.daemons = 'dns+tcp://fleet.test:$port, dns+tcp://other.test:$port'");
    $cluster->reload;
    my $rows = q(SELECT count(*) FROM steadytext_daemons WHERE endpoint LIKE '%127.0.1.%');
    ok($cluster->poll_until("SELECT ($rows) > 60", 't', 30), 'the name has the places that are left') or diag $cluster->sql($rows);
    fleet_is('127.0.0.2', 'the other entry has its daemon');
    names('fleet.test' => join(' ', map { "127.0.1.$_" } reverse 1 .. 100), 'other.test' => '127.0.0.3');
    fleet_is('127.0.0.3', 'and after that has moved');
    is($cluster->sql(q(SELECT steadytext_generate('beside a large name', use_cache => false))), 'beside a large name', 'which answers');
    is(() = $cluster->log =~ /there is no room for all addresses of "fleet.test"/g, 1, 'the log says once that there is no room for more');
}

# An address that no daemon may have is not taken from a name server either.
{
    names('metadata.test' => '169.254.169.254');
    $cluster->append_conf("steadytext.daemons = 'dns+tcp://metadata.test:$port'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT reason FROM steadytext_daemons WHERE endpoint LIKE '%metadata.test%'),
        'the name leads to 169.254.169.254, which is not allowed'), 'a name that leads where no daemon may be') or diag $cluster->sql('SELECT * FROM steadytext_daemons');
}

done_testing;
