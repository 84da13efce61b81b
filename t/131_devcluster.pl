# scripts/devcluster: started twice it is one cluster, stopped it leaves nothing, whether root or a plain user runs it.
use strict;
use warnings;
use File::Temp ();
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $root = $SteadyText::Cluster::ROOT;

# The cluster in `dir`, of the tree at `tree`; `as` is what runs a command as the user.
sub lives {
    my ($who, $tree, $dir, @as) = @_;
    my $devcluster = sub {
        my $output = '';
        my $good = IPC::Run::run([ @as, "$tree/scripts/devcluster", @_, "--dir=$dir" ], '<', \undef, '>&', \$output);
        return wantarray ? ($good, $output) : $good;
    };
    my $postmaster = sub { open my $file, '<', "$dir/run/data/postmaster.pid" or return 0; return 0 + <$file> };

    my ($good, $output) = $devcluster->('start');
    ok($good, "$who: it starts") or diag $output;
    my $pid = $postmaster->();
    my $run = readlink "$dir/run";
    isnt((stat "/proc/$pid")[4], 0, "$who: the server does not run as root");
    ok(scalar $devcluster->('start'), "$who: a second start succeeds");
    is($postmaster->(), $pid, "$who: and does nothing");
    is(readlink "$dir/run", $run, "$who: the files are where they were");

    my $answer = '';
    IPC::Run::run([ @as, 'bash', '-c', '. "$0" && psql -XAtc "SELECT steadytext_generate(\'hello\'), usesuper FROM pg_user WHERE usename = current_user"',
        "$dir/env" ], '<', \undef, '>&', \$answer);
    is($answer, "hello|t\n", "$who: env leads a superuser to the extension, which answers");
    like(($devcluster->('status'))[1], qr/^running/, "$who: the status says so");
    ok(scalar $devcluster->('restart'), "$who: it restarts");
    isnt($postmaster->(), $pid, "$who: as another process");

    $pid = $postmaster->();
    chomp(my $daemon = `cat $run/daemon.pid`);
    ok(scalar $devcluster->('stop'), "$who: it stops");
    ok(SteadyText::Cluster->wait_for(sub { !-e "/proc/$pid" }, 5), "$who: the server is gone");
    ok(SteadyText::Cluster->wait_for(sub { !-e "/proc/$daemon" }, 5), "$who: so is the daemon");
    ok(!-e $run && !-e "$dir/env" && !-l "$dir/run", "$who: and every file");
    ok(scalar $devcluster->('stop'), "$who: a second stop does nothing");
    return;
}

# An argument that it does not know is not passed over: nothing is started.
for my $wrong ([ 'start', '--bogus' ], [ 'start', 'now' ], [ 'stop', '--force' ], [ 'start', '--daemon=none-such' ], ['begin']) {
    my $dir    = File::Temp->newdir('steadytext-test-XXXXXX', TMPDIR => 1);
    my $output = '';
    IPC::Run::run([ "$root/scripts/devcluster", $wrong->[0], "--dir=$dir", @$wrong[ 1 .. $#$wrong ] ], '<', \undef, '>&', \$output);
    is($? >> 8, 2, "@$wrong: refused");
    like($output, $wrong->[1] ? qr/^devcluster: unknown (?:argument|daemon) "@{[ $wrong->[1] =~ s{^--daemon=}{}r ]}"/ : qr/scripts\/devcluster start/, '  in words');
    ok(!-e "$dir/env", '  and nothing is begun');
}

lives($> == 0 ? 'root' : 'this user', $root, File::Temp->newdir('steadytext-test-XXXXXX', TMPDIR => 1));

SKIP: {
    my ($name, undef, $uid, $gid) = getpwnam 'nobody';
    skip 'another user is tested as root only', 14 if $> != 0 || !defined $uid;
    # What the script needs, where that user may write.
    my $tree = File::Temp->newdir('steadytext-tree-XXXXXX', TMPDIR => 1);
    mkdir "$tree/build";
    system('cp', '-a', "$root/Makefile", "$root/pg_steadytext.control", "$root/scripts", "$tree/") == 0
        && system('cp', '-p', "$root/build/echo-daemon", "$tree/build/") == 0
        && system('chown', '-R', "$uid:$gid", $tree) == 0 or die 'no tree for another user';
    lives('a plain user', $tree, "$tree/build/cluster", 'setpriv', "--reuid=$uid", "--regid=$gid", '--clear-groups',
        'env', "HOME=$tree", "TMPDIR=/tmp");
}

done_testing;
