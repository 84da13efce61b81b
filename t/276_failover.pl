# A failover under load: the standby is promoted, then the old primary dies. Calls go on, no answer is wrong, and no job that was reported queued is
# lost, as its commit has waited for the standby (synchronous replication).
use strict;
use warnings;
use POSIX ();
use SteadyText::Cluster;
use Test::More;

my $primary = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off' ]);
my $standby = $primary->standby;
$primary->append_conf("synchronous_standby_names = '*'", "synchronous_commit = 'remote_apply'");
$primary->reload;
ok($primary->poll_until(q(SELECT sync_state FROM pg_stat_replication), 'sync'), 'commits wait for the standby');
ok($standby->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'the standby has its daemon');

# ---- clients ---------------------------------------------------------------------------------------------------------------------

# As an application connects that knows both servers and wants the one that may write.
my $either = bless { %$primary, PGHOST => "$primary->{PGHOST},$standby->{PGHOST}", PGPORT => "$primary->{PGPORT},$standby->{PGPORT}", is_standby => 1 }, ref $primary;
my ($over) = map { "$_/failover_over" } $primary->run_dir;
pipe my $told, my $tell or die "pipe: $!";

# Asks until the file `over` is there, and tells of each statement a line: kind, outcome, what was asked, what came back. A client that finds no
# server tries again.
sub client {
    my ($kind, $number, $where, $function) = @_;
    my $process = fork // die "fork: $!";
    return $process if $process;
    local $ENV{PGTARGETSESSIONATTRS} = $where == $standby ? 'any' : 'read-write';
    for (my $n = 1; !-e $over;) {
        my $prompt = "$kind $number, number $n";
        my $result = $where->try_sql("SELECT $function('$prompt')");
        next if $result->{err} =~ /^psql: error/m;
        $n++;
        my $outcome = $result->{state} ne '' || $result->{out} eq '' ? 'failed' : $kind eq 'job' || $result->{out} eq $prompt ? 'right' : 'wrong';
        my $words   = $result->{err} =~ tr/\n\t/  /r;
        syswrite $tell, join("\t", $kind, $outcome, $prompt, $outcome eq 'failed' ? $words : $result->{out}) . "\n";
    }
    POSIX::_exit(0);
}
my @clients = (
    (map { client('call', $_, $either, 'steadytext_generate') } 1 .. 3),
    (map { client('read', $_, $standby, 'steadytext_generate') } 1, 2),
    (map { client('job', $_, $either, 'steadytext_generate_async') } 1, 2));
END { my $status = $?; kill 'KILL', @clients; waitpid $_, 0 for @clients; $? = $status }
close $tell;

my (%count, %jobs, @failed, @wrong);
# Reads until so many more calls are told of.
sub more {
    my ($wanted) = @_;
    local $SIG{ALRM} = sub { die "the clients are silent\n" };
    alarm 120;
    while ($wanted > 0) {
        my $line = <$told> // last;
        chomp $line;
        my ($kind, $outcome, $prompt, $said) = split /\t/, $line;
        $count{$kind}{$outcome}++;
        $wanted-- if $kind ne 'job';
        $jobs{$said} = $prompt if $kind eq 'job' && $outcome eq 'right';
        push @failed, "$prompt: $said" if $outcome eq 'failed' && $kind ne 'job';
        push @wrong,  "$prompt: $said" if $outcome eq 'wrong';
    }
    alarm 0;
    return $wanted == 0;
}

# ---- the failover ----------------------------------------------------------------------------------------------------------------

ok(more(250), 'clients ask');
ok($standby->promote, 'the standby is promoted');
ok(more(150), 'both servers answer');
ok($primary->stop('immediate'), 'the old primary is gone');
ok(more(400), 'the new primary answers');
open my $file, '>', $over or die "$over: $!";
close $file;
more(1_000_000);

my ($right, $failed) = map { my $outcome = $_; eval { no warnings; $count{call}{$outcome} + $count{read}{$outcome} } } qw(right failed);
cmp_ok($right / ($right + $failed), '>=', 0.995, sprintf '%d of %d calls were answered', $right, $right + $failed) or diag join "\n", @failed;
is("@wrong", '', 'no answer was wrong');
is(scalar(grep { /^read/ } @failed), 0, 'on the server that was promoted none failed') or diag join "\n", @failed;
cmp_ok(scalar(keys %jobs), '>', 20, sprintf '%d jobs were reported queued, some before and some after', scalar keys %jobs);

# ---- the jobs --------------------------------------------------------------------------------------------------------------------

my $list = join ',', map { "('$_'::uuid, '$jobs{$_}')" } sort keys %jobs;
ok($standby->poll_until("SELECT count(*) FROM (VALUES $list) j (id, prompt) JOIN steadytext_queue q ON q.request_id = j.id WHERE q.status = 'completed' AND q.result = j.prompt",
    scalar(keys %jobs), 120), 'each of them has its answer')
    or diag $standby->sql("SELECT q.status, count(*) FROM (VALUES $list) j (id, prompt) LEFT JOIN steadytext_queue q ON q.request_id = j.id GROUP BY 1");
unlike($standby->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
done_testing;
