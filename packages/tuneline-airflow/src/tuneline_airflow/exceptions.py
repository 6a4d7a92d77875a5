"""Airflow's exceptions, from where the installed version has them: 3.0 keeps them elsewhere."""

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

__all__ = ["AirflowException", "AirflowFailException", "AirflowSkipException"]
