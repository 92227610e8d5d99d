// Asks for the next batch by itself; without this script there is a button.
document.getElementById("progress-form").submit();
