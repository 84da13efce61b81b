# The embedded daemon that cannot be: its program is not there, or none is wanted. It is said where people look.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.embedded_daemon = off" ]);
for my $what (qw(stop start)) {
    my $told = $cluster->try_sql("SELECT steadytext_daemon_$what()");
    like($told->{err}, qr/WARNING:.*there is no embedded daemon to $what\nDETAIL:  steadytext.embedded_daemon is off/, "daemon_$what says that there is none");
}
is($cluster->sql(q(SELECT steadytext_generate('another one answers'))), 'another one answers', 'other daemons go on');

my $program = '/nonexistent/steadytextd';
my $why     = qr{could not execute "$program": No such file or directory};
$cluster->append_conf('steadytext.embedded_daemon = on', "steadytext.embedded_program = '$program'", "steadytext.embedded_model = '/nonexistent/model.gguf'");
$cluster->reload;
ok($cluster->wait_for(sub { $cluster->log =~ /the embedded daemon could not be started: $why; starting it again in \d+ ms/ }), 'the log says what cannot be executed, and why');
ok($cluster->wait_for(sub { $cluster->sql(q(SELECT string_agg(reason, ' ') FROM steadytext_daemons)) =~ $why }), 'so does the view');
like($cluster->sql(q(SELECT string_agg(details ->> 'reason', ' ') FROM steadytext_health_check() WHERE component = 'daemon')), $why, 'and the health');
is($cluster->sql(q(SELECT endpoint FROM steadytext_daemon_status() WHERE endpoint ~ 'steadytextd.sock')), $cluster->sql(q(SELECT endpoint FROM steadytext_daemons WHERE endpoint ~ 'steadytextd.sock')),
    'the status has the address at which it would be');

# steadytext_daemon_start() says it as soon as it is known, and not only when a call would have given up; also while the launcher pauses between its own tries.
for my $try ('first', 'second') {
    my $told = $cluster->try_sql('SELECT steadytext_daemon_start()');
    is($told->{out}, 'f', "the $try steadytext_daemon_start() fails");
    like($told->{err}, qr/WARNING:.*failed to start daemon: the embedded daemon could not be started: $why/, '  and says why');
    cmp_ok($told->{seconds}, '<', $cluster->sql(q(SELECT extract(epoch FROM current_setting('steadytext.request_timeout')::interval))), '  before a call would have given up');
}

# One that is stopped says so, until it is started.
$cluster->append_conf("steadytext.embedded_program = '" . $cluster->run_dir . "/echo-daemon'");
$cluster->reload;
my $reason = q(SELECT state || ' ' || coalesce(reason, '-') FROM steadytext_daemons WHERE endpoint ~ 'steadytextd.sock');
is($cluster->sql('SELECT steadytext_daemon_start()'), 't', 'a daemon that can be');
ok($cluster->poll_until($reason, 'ready -'), 'has no reason to show');
is($cluster->sql('SELECT steadytext_daemon_stop()'), 't', 'it is stopped');
ok($cluster->poll_until($reason, 'connecting stopped by steadytext_daemon_stop()'), 'which is its reason') or diag $cluster->sql('SELECT * FROM steadytext_daemons');
is($cluster->sql(q(SELECT details ->> 'reason' FROM steadytext_health_check() WHERE details ->> 'endpoint' ~ 'steadytextd.sock')), 'stopped by steadytext_daemon_stop()', 'in the health too');
is($cluster->sql('SELECT steadytext_daemon_start()'), 't', 'it is started again');
ok($cluster->poll_until($reason, 'ready -'), 'and has no reason to show');

done_testing;
